// What error models are tried with.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <set>

#include "any_kind_checks.h"
#include "bitfall/extensions/bit_faults.h"
#include "bitfall/extensions/edit_condition.h"
#include "bounded_array.h"
#include "check_inputs.h"
#include "numbers.h"
#include "words.h"

namespace bitfall {
namespace {

/// A place with registers of a format.
class TriedSite {
 public:
  /// A payload of `sign`, `exponent`, ... bits from the least significant one, with a metadata
  /// register of 8 bits for each `block` values; 0 = none.
  TriedSite(std::string name, Target target, std::string operation, Shape shape,
            std::vector<BitClass> payload, std::int64_t block)
      : name_(std::move(name)),
        operation_(std::move(operation)),
        target_(target),
        shape_(std::span<const std::int64_t>{shape}),
        payload_(std::span<const BitClass>{payload}) {
    const std::int64_t count = element_count(shape_.view());
    registers_.push_back({"payload", static_cast<int>(payload.size()), count, payload_.view()});
    if (block > 0) registers_.push_back({"scale", 8, (count + block - 1) / block, kScale});
  }
  SiteView view(const ErrorModel& model) const {
    constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
    const bool weight = target_ == Target::kWeight;
    const bool channels = shape_.size() > 1;
    std::int64_t fan_in = 1;
    for (std::size_t d = 1; d < shape_.size(); ++d) fan_in *= shape_[d];
    return {.size = sizeof(SiteView),
            .name = name_,
            .target = target_,
            .shape = shape_.view(),
            .registers = registers_,
            .golden = model.needs_golden_range() ? Range{-1.5F, 3} : Range{kNone, kNone},
            .largest = 480,
            .operation = operation_,
            .place = 3,
            .channel_axis = channels ? 0 : -1,
            .fan_in = weight && channels ? fan_in : 0};
  }
  const std::string& name() const { return name_; }
  const std::vector<SiteRegister>& registers() const { return registers_; }

 private:
  static constexpr auto kX = BitClass::kMetadata;
  static constexpr BitClass kScale[] = {kX, kX, kX, kX, kX, kX, kX, kX};
  std::string name_, operation_;
  Target target_;
  BoundedArray<std::int64_t> shape_;
  BoundedArray<BitClass> payload_;
  std::vector<SiteRegister> registers_;
};

std::vector<BitClass> float_bits(int mantissa, int exponent) {
  std::vector<BitClass> bits(static_cast<std::size_t>(mantissa), BitClass::kMantissa);
  bits.insert(bits.end(), static_cast<std::size_t>(exponent), BitClass::kExponent);
  bits.push_back(BitClass::kSign);
  return bits;
}

std::vector<TriedSite> sites_to_try() {
  const auto fp32 = float_bits(23, 8), fp16 = float_bits(10, 5), int8 = float_bits(7, 0);
  std::vector<BitClass> posit(4, BitClass::kMantissa);
  posit.insert(posit.end(),
               {BitClass::kExponent, BitClass::kRegime, BitClass::kRegime, BitClass::kSign});
  std::vector<TriedSite> sites;
  sites.emplace_back("fp32 map", Target::kActivation, "conv", Shape{4, 6, 5}, fp32, 0);
  sites.emplace_back("fp16 row", Target::kActivation, "linear", Shape{10}, fp16, 0);
  sites.emplace_back("int8 map", Target::kActivation, "relu", Shape{3, 8, 8}, int8, 192);
  sites.emplace_back("posit map", Target::kActivation, "add", Shape{2, 9}, posit, 0);
  sites.emplace_back("block map", Target::kActivation, "conv", Shape{16, 4, 4}, fp16, 32);
  sites.emplace_back("weight", Target::kWeight, "conv", Shape{8, 3, 3, 3}, fp32, 0);
  sites.emplace_back("bias", Target::kWeight, "linear", Shape{5}, fp16, 0);
  sites.emplace_back("one value", Target::kWeight, "linear", Shape{1}, fp32, 0);
  sites.emplace_back("input", Target::kInput, "input", Shape{3, 7, 7}, fp32, 0);
  return sites;
}

/// Ends a draw that never has enough.
class LimitedStream final : public RandomStream {
 public:
  explicit LimitedStream(PhiloxStream stream) : stream_(stream) {}
  std::uint32_t next() override {
    if (left_-- == 0) {
      throw Error(ExitCode::kPlugin, "takes more than 4 million random numbers for one fault");
    }
    return stream_.next();
  }

 private:
  PhiloxStream stream_;
  std::int64_t left_ = std::int64_t{1} << 22;
};

class DrawnEdits final : public EditSink {
 public:
  void add(const Edit& edit) override { edits.push_back(edit); }
  std::vector<Edit> edits;
};

std::vector<Edit> drawn(const ErrorModel& model, const SiteView& site, const PhiloxStream& stream) {
  LimitedStream limited(stream);
  DrawnEdits sink;
  model.draw(site, limited, sink);
  return sink.edits;
}

/// What a model that asks for values says of an edit, over values of all kinds.
void add_condition(Words& words, const ErrorModel& model, const Edit& edit) {
  const void* const extension = model.extension(kEditCondition);
  if (extension == nullptr) return;
  constexpr float kValues[] = {0,
                               -0.0F,
                               1.5F,
                               -2.25F,
                               1e-41F,
                               3e38F,
                               std::numeric_limits<float>::infinity(),
                               std::numeric_limits<float>::quiet_NaN()};
  for (const float value : kValues) {
    for (const std::uint32_t code : {0U, edit.mask, ~edit.mask}) {
      const auto& condition = *static_cast<const EditCondition*>(extension);
      words.push_back(condition.holds({sizeof(EditFinds), &edit, value, code, 3}) ? 1 : 0);
    }
  }
}

void add_edit(Words& words, const Edit& edit) {
  add_word(words, edit.element);
  words.push_back(static_cast<std::uint32_t>(edit.register_index));
  words.push_back(static_cast<std::uint32_t>(edit.operation));
  words.push_back(edit.mask);
  add_word(words, edit.value);
}

Cases<ErrorModel> cases_over(const Subject& subject, int draws) {
  Cases<ErrorModel> cases;
  const auto sites = std::make_shared<std::vector<TriedSite>>(sites_to_try());
  for (std::size_t s = 0; s < sites->size(); ++s) {
    cases.push_back({"draw at site " + in_quotes((*sites)[s].name()), [=](const ErrorModel& model) {
                       const SiteView site = (*sites)[s].view(model);
                       Words words;
                       const double population = model.population(site);
                       add_word(words, population);
                       for (int i = 0; population > 0 && i < draws; ++i) {
                         const auto number = static_cast<std::uint64_t>(100 + i);
                         for (const Edit& edit : drawn(model, site, subject.random(number))) {
                           add_edit(words, edit);
                           add_condition(words, model, edit);
                         }
                       }
                       return words;
                     }});
  }
  return cases;
}

// Odd numbers, so that a model with a state of two comes to the next site in the other one.
Cases<ErrorModel> all_model_cases(const Subject& subject) { return cases_over(subject, 21); }
Cases<ErrorModel> few_model_cases(const Subject& subject) { return cases_over(subject, 3); }

void check_population(const Subject& subject) {
  const auto model = subject.make<ErrorModel>(), other = subject.make<ErrorModel>();
  for (const TriedSite& site : sites_to_try()) {
    const double count = model->population(site.view(*model));
    const std::string at = " at site " + in_quotes(site.name());
    if (!std::isfinite(count)) {
      throw CheckFailure("has a population of " + exact_text(count) + at);
    }
    if (other->population(site.view(*other)) != count) {
      throw CheckFailure("has another population in a new instance" + at);
    }
    if (count <= 0) continue;
    drawn(*model, site.view(*model), subject.random(7));
    if (model->population(site.view(*model)) != count) {
      throw CheckFailure("has another population after a draw" + at);
    }
  }
}

void require_edit(const Edit& edit, const TriedSite& site) {
  const std::string at = ", drawn at site " + in_quotes(site.name());
  const auto refuse = [&](const std::string& what) {
    throw CheckFailure("gives an edit of " + what + at);
  };
  const auto kind = static_cast<std::size_t>(edit.register_index);
  if (edit.register_index < 0 || kind >= site.registers().size()) {
    refuse("register " + std::to_string(edit.register_index) + " of " +
           std::to_string(site.registers().size()));
  }
  const SiteRegister& reg = site.registers()[kind];
  if (edit.element < 0 || edit.element >= reg.count) {
    refuse("element " + std::to_string(edit.element) + " of " + std::to_string(reg.count) +
           " of register '" + reg.name + "'");
  }
  if (edit.operation > EditOperation::kMultiply) {
    refuse("operation " + std::to_string(static_cast<int>(edit.operation)) +
           ", which there is not");
  }
  if (is_real(edit.operation) && kind != 0) {
    refuse("a number in register '" + std::string(reg.name) + "', which has codes alone");
  }
  if (!is_real(edit.operation) && reg.bits < 32 && edit.mask >> reg.bits != 0) {
    refuse("bits " + hex(edit.mask) + " of a register of " + std::to_string(reg.bits) + " bits");
  }
}

/// A model that says that each of its faults is of one bit (BitFaults) is drawn by parts of the
/// bits.
void require_one_bit(const std::vector<Edit>& edits, const TriedSite& site) {
  if (edits.size() == 1 && !is_real(edits[0].operation) &&
      edits[0].operation != EditOperation::kWrite && std::popcount(edits[0].mask) == 1) {
    return;
  }
  throw CheckFailure("says that each fault is of one bit (BitFaults), and draws " +
                     (edits.size() == 1 ? "the mask " + hex(edits[0].mask)
                                        : std::to_string(edits.size()) + " edits") +
                     " for one at site " + in_quotes(site.name()));
}

void check_edits(const Subject& subject) {
  constexpr std::uint64_t kDraws = 300;
  const auto model = subject.make<ErrorModel>();
  const bool one_bit = model->extension(kBitFaults) != nullptr;
  const auto sites = sites_to_try();
  std::size_t without = 0;
  for (const TriedSite& site : sites) {
    if (model->population(site.view(*model)) <= 0) {
      ++without;
      continue;
    }
    now_trying("draw at site " + in_quotes(site.name()));
    // Of one edit: of sets of any size the population counts places, and so it may of real numbers.
    std::set<Words> different;
    for (std::uint64_t i = 0; i < kDraws; ++i) {
      const auto edits = drawn(*model, site.view(*model), subject.random(1000 + i));
      if (edits.empty()) {
        throw CheckFailure("draws a fault without an edit at site " + in_quotes(site.name()) +
                           ", whose population is not 0");
      }
      if (one_bit) require_one_bit(edits, site);
      Words words;
      for (const Edit& edit : edits) {
        require_edit(edit, site);
        Edit place = edit;
        if (is_real(edit.operation)) place.value = 0;
        add_edit(words, place);
      }
      if (edits.size() == 1) different.insert(std::move(words));
    }
    const double population = model->population(site.view(*model));
    if (static_cast<double>(different.size()) > population) {
      throw CheckFailure("has a population of " + exact_text(population) + " at site " +
                         in_quotes(site.name()) + ", where " + std::to_string(different.size()) +
                         " different faults were drawn");
    }
  }
  if (without == sites.size()) {
    note("no fault was drawn: its population is 0 at each of the " + std::to_string(without) +
         " sites that are tried, maps, rows and weights in fp32, fp16, int8, a posit and blocks");
  }
}

constexpr Check kBasicModelChecks[] = {
    {"population", "a finite number, the same in every call and instance", check_population},
    {"edits",
     "300 faults a site, no more different ones than its population: edits of what there is",
     check_edits},
};

}  // namespace

std::vector<Check> error_model_checks() {
  return checks_over<ErrorModel, all_model_cases, few_model_cases>(kBasicModelChecks, {});
}

}  // namespace bitfall
