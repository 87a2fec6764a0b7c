#include "plugin_guard.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <deque>
#include <exception>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "bitfall/extensions/edit_condition.h"
#include "bitfall/extensions/memory_code.h"
#include "bitfall/extensions/training_features.h"
#include "numbers.h"
#include "plugin_options.h"
#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

[[noreturn]] void refuse(const std::string& who, const std::string& problem) {
  throw Error(ExitCode::kPlugin, who + " " + problem + place_of_call());
}

// Copies of texts that a plugin gave.
class Names {
 public:
  const char* keep(const char* text) { return text ? kept_.emplace_back(text).c_str() : nullptr; }

 private:
  std::deque<std::string> kept_;
};

// What a component answers extension(name) with; null: it has none.
template <typename Extension, typename Component>
const Extension* extension_of(const Component& component, const std::string& who,
                              const char* name) {
  const void* const found =
      call_plugin(who, "extension", [&] { return component.extension(name); });
  // Two interfaces never lie at one address: this is `this`, taken for another class.
  if (found != nullptr && found == static_cast<const void*>(&component)) {
    refuse(who, std::string("gives itself in extension for '") + name +
                    "', as if it were that class: return static_cast<const X*>(this), X being the "
                    "extension's class");
  }
  return static_cast<const Extension*>(found);
}

/// Of a method's calls the first and every 64th are looked at more closely.
class Looks {
 public:
  explicit Looks(bool any) : any_(any) {}
  /// Counts a call.
  bool at_this_call() {
    if (!any_) return false;
    constexpr std::uint32_t kFirst = 64, kEvery = 64;
    const std::uint32_t call = calls_.fetch_add(1, std::memory_order_relaxed);
    return call < kFirst || call % kEvery == 0;
  }
  std::uint32_t calls() const { return calls_; }

 private:
  const bool any_;
  std::atomic<std::uint32_t> calls_{0};
};

std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }

/// Every `stride`th of them, from `first` on.
template <typename T>
std::vector<T> part_of(View<const T> whole, std::size_t first, std::size_t stride) {
  std::vector<T> part;
  for (std::size_t i = first; i < whole.size(); i += stride) part.push_back(whole[i]);
  return part;
}
Slice part_of(const Slice& whole, std::size_t first, std::size_t stride) {
  return {whole.shape, whole.first + static_cast<std::int64_t>(first) * whole.stride,
          whole.stride * static_cast<std::int64_t>(stride), whole.stream};
}

/// The program's own values for a plugin to read, a copy of them where the plugin is to change
/// nothing of the program's though it writes to them.
template <typename T>
class Lent {
 public:
  explicit Lent(View<const T> own, bool as_copy = true)
      : own_(own), copy_(own.begin(), own.end()), as_copy_(as_copy) {}
  View<const T> view() const { return as_copy_ ? View<const T>(copy_) : own_; }
  void require_untouched(const std::string& who, const char* what) const {
    if (own_.empty() || std::memcmp(own_.data(), copy_.data(), own_.size_bytes()) == 0) return;
    refuse(who, std::string("writes to ") + what + ", which it may only read");
  }

 private:
  View<const T> own_;
  std::vector<T> copy_;
  bool as_copy_;
};

// Its destructor is a call like others: it may crash, or not come back.
template <typename Component>
void destroy(std::unique_ptr<Component>& component, const std::string& who) {
  const PluginCall here(who.c_str(), "its destructor");
  component.reset();
}

class GuardedFormat final : public NumberFormat, public MemoryCode {
 public:
  GuardedFormat(std::unique_ptr<NumberFormat> format, std::string who, bool twice)
      : format_(std::move(format)),
        who_(std::move(who)),
        looks_(twice),
        encodes_(twice),
        decodes_(twice),
        emulations_(twice) {
    code_ = extension_of<MemoryCode>(*format_, who_, kMemoryCode);
    // Once: another answer to another call would be of another format.
    calibrated_ = call_plugin(who_, "calibrated", [&] { return format_->calibrated(); });
    elementwise_ = call_plugin(who_, "elementwise", [&] { return format_->elementwise(); });
    exact_ = call_plugin(who_, "exact", [&] { return format_->exact(); });
    const View<const Register> given =
        call_plugin(who_, "registers", [&] { return format_->registers(); });
    for (const Register& one : given) {
      classes_.emplace_back(one.bit_classes.begin(), one.bit_classes.end());
      registers_.push_back({names_.keep(one.name), one.bits, classes_.back()});
    }
  }
  ~GuardedFormat() override { destroy(format_, who_); }

  const void* extension(const char* name) const override {
    if (std::string_view(name) != kMemoryCode) {
      return call_plugin(who_, "extension", [&] { return format_->extension(name); });
    }
    return code_ == nullptr ? nullptr : static_cast<const MemoryCode*>(this);
  }
  MemoryVerdict check(View<const std::uint32_t> codes, const Slice& slice,
                      View<const std::uint32_t> metadata) const override {
    const MemoryVerdict verdict =
        call_plugin(who_, "check", [&] { return code_->check(codes, slice, metadata); });
    if (verdict.corrected < 0 || verdict.detected < 0) {
      refuse(who_, "has a negative count of words in check");
    }
    return verdict;
  }

  View<const Register> registers() const override { return registers_; }
  std::int64_t register_count(int index, View<const std::int64_t> shape) const override {
    const auto count =
        call_plugin(who_, "register_count", [&] { return format_->register_count(index, shape); });
    constexpr std::int64_t kMost = std::int64_t{1} << 26;
    if (count < 0) refuse(who_, "has a negative count of registers");
    if (count > kMost && count > element_count(shape)) {
      refuse(who_, "has " + std::to_string(count) + " registers in a tensor of " +
                       std::to_string(element_count(shape)) + " elements");
    }
    return count;
  }
  bool calibrated() const override { return calibrated_; }
  const char* refusal(View<const std::int64_t> shape) const override {
    return call_plugin(who_, "refusal", [&] { return format_->refusal(shape); });
  }
  int range_axis(View<const std::int64_t> shape) const override {
    const int axis = call_plugin(who_, "range_axis", [&] { return format_->range_axis(shape); });
    if (axis < -1 || axis >= static_cast<int>(shape.size())) {
      refuse(who_, "wants ranges along dimension " + std::to_string(axis) + " of a tensor with " +
                       std::to_string(shape.size()) + " dimensions");
    }
    return axis;
  }
  void calibrate(View<const Range> ranges, View<const std::int64_t> shape,
                 View<std::uint32_t> metadata) const override {
    call_plugin(who_, "calibrate", [&] { format_->calibrate(ranges, shape, metadata); });
    check_metadata(shape, metadata, "calibrate");
  }
  bool elementwise() const override { return elementwise_; }
  ElementRun block(std::int64_t element, View<const std::int64_t> shape) const override {
    const ElementRun run =
        call_plugin(who_, "block", [&] { return format_->block(element, shape); });
    std::int64_t last = 0;
    if (__builtin_mul_overflow(run.count - 1, run.stride, &last) ||
        __builtin_add_overflow(run.first, last, &last) || run.first < 0 || run.count < 1 ||
        run.stride < 1 || last >= element_count(shape) || element < run.first || element > last ||
        (element - run.first) % run.stride != 0) {
      refuse(who_, "gives a block that does not hold element " + std::to_string(element) +
                       " or leaves the tensor");
    }
    return run;
  }
  bool exact() const override { return exact_; }
  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    const bool whole = is_whole(slice, values.size());
    const bool again = encodes_.at_this_call();
    bool writes_metadata = false;
    std::vector<std::uint32_t> others, other_metadata;
    if (again) {  // over other contents than the call that counts
      writes_metadata = whole && !calibrated();
      others = complement(codes);
      other_metadata = writes_metadata
                           ? complement(metadata)
                           : std::vector<std::uint32_t>(metadata.begin(), metadata.end());
      const Lent lent(values);
      call_plugin(who_, "encode",
                  [&] { format_->encode(lent.view(), slice, other_metadata, others); });
      lent.require_untouched(who_, "the values in encode");
    }
    call_plugin(who_, "encode", [&] { format_->encode(values, slice, metadata, codes); });
    if (again) {
      refuse_others("encode", "code", codes, others);
      if (writes_metadata) refuse_others("encode", "metadata register", metadata, other_metadata);
    }
    std::uint32_t any = 0;
    for (const std::uint32_t code : codes) any |= code;
    if ((any & ~mask_) != 0) {
      refuse(who_, "gives codes of more than its " + std::to_string(std::popcount(mask_)) +
                       " bits in encode");
    }
    if (whole) check_metadata(slice.shape, metadata, "encode");
    if (!again) return;
    require_parts_encoded(values, slice, metadata, codes);
    if (exact()) require_exact(values, slice, metadata, codes);
  }
  void decode(View<const std::uint32_t> codes, const Slice& slice,
              View<const std::uint32_t> metadata, View<float> values) const override {
    const bool again = decodes_.at_this_call();
    std::vector<float> others;
    if (again) {
      for (const float value : values) others.push_back(std::bit_cast<float>(~bits_of(value)));
      const Lent lent(codes), lent_metadata(metadata);
      call_plugin(who_, "decode",
                  [&] { format_->decode(lent.view(), slice, lent_metadata.view(), others); });
      lent.require_untouched(who_, "the codes in decode");
      lent_metadata.require_untouched(who_, "the metadata in decode");
    }
    call_plugin(who_, "decode", [&] { format_->decode(codes, slice, metadata, values); });
    for (std::size_t i = 0; i < others.size(); ++i) {
      if (bits_of(values[i]) == bits_of(others[i])) continue;
      refuse_other("decode", "value", i, exact_text(others[i]), exact_text(values[i]));
    }
    if (again) require_parts_decoded(codes, slice, metadata, values);
  }
  void emulate(View<float> values, const Slice& slice,
               View<std::uint32_t> metadata) const override {
    const Part part = part_to_compare(values.size());
    if (part.first == part.last) {
      call_plugin(who_, "emulate", [&] { format_->emulate(values, slice, metadata); });
      return;
    }
    const std::vector<float> before(values.begin() + part.first, values.begin() + part.last);
    const std::vector<std::uint32_t> calibration(metadata.begin(), metadata.end());
    call_plugin(who_, "emulate", [&] { format_->emulate(values, slice, metadata); });
    Slice place = slice;
    place.first += part.first * slice.stride;
    require_stored(before, place, calibration, values.begin() + part.first,
                   "emulate of " + std::to_string(values.size()) + " values makes it ");
  }
  BitClass bit_class(std::uint32_t code, int bit) const override {
    const BitClass found =
        call_plugin(who_, "bit_class", [&] { return format_->bit_class(code, bit); });
    if (found > BitClass::kMetadata) {
      refuse(who_, "gives bit " + std::to_string(bit) + " an unknown bit class");
    }
    return found;
  }
  FormatTraits traits() const override {
    return call_plugin(who_, "traits", [&] { return format_->traits(); });
  }
  double metadata_value(int index, std::uint32_t code) const override {
    return call_plugin(who_, "metadata_value",
                       [&] { return format_->metadata_value(index, code); });
  }
  float largest(View<const std::uint32_t> metadata) const override {
    const float largest = call_plugin(who_, "largest", [&] { return format_->largest(metadata); });
    if (!std::isfinite(largest) || largest < 0) {
      refuse(who_, "has a largest number that is not one: " + std::to_string(largest));
    }
    return largest;
  }

  /// Once its registers are known to be good.
  void know_registers() {
    const int bits = registers()[0].bits;
    mask_ = bits == 32 ? ~std::uint32_t{0} : (std::uint32_t{1} << bits) - 1;
    if (looks_ && registers().size() == 1 && exact()) try_exact();
  }

 private:
  /// Of a call of emulate, what is compared with encode and decode: of the same calls a few values,
  /// or where a value alone has no code, now and then all of them.
  struct Part {
    std::ptrdiff_t first = 0, last = 0;
  };
  Part part_to_compare(std::size_t size) const {
    constexpr std::size_t kValues = 64;
    constexpr std::uint32_t kFirst = 8, kEvery = 256;
    const std::uint32_t call = emulations_.calls();
    if (size == 0 || !emulations_.at_this_call()) return {};
    if (!elementwise()) {
      return call < kFirst || call % kEvery == 0 ? Part{0, static_cast<std::ptrdiff_t>(size)}
                                                 : Part{};
    }
    const std::size_t count = std::min(size, kValues);
    const std::size_t first = size == count ? 0 : std::size_t{call} * 7919 % (size - count);
    return {static_cast<std::ptrdiff_t>(first), static_cast<std::ptrdiff_t>(first + count)};
  }
  /// stored: what `values` at this place became.
  void require_stored(const std::vector<float>& values, const Slice& place,
                      std::vector<std::uint32_t> metadata, const float* stored,
                      const std::string& how) const {
    std::vector<std::uint32_t> codes(values.size());
    std::vector<float> decoded(values.size());
    encode(values, place, metadata, codes);  // as always: what they leave unwritten is told first
    decode(codes, place, metadata, decoded);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (bits_of(decoded[i]) == bits_of(stored[i])) continue;
      refuse(who_, "stores " + exact_text(values[i]) + " as " + exact_text(decoded[i]) +
                       " by encode and decode of " + std::to_string(values.size()) + ", and " +
                       how + exact_text(stored[i]));
    }
    require_parts_encoded(values, place, metadata, codes);
    require_parts_decoded(codes, place, metadata, decoded);
  }
  /// What can be stored alone is, one value and a few that do not lie side by side, as among
  /// others.
  struct Step {
    std::size_t first, stride;
  };
  std::vector<Step> parts(std::size_t size) const {
    constexpr std::size_t kFew = 5;
    if (!elementwise() || size < 2) return {};
    const std::size_t one = std::size_t{encodes_.calls()} * 7919 % size;
    const std::size_t stride = std::max<std::size_t>(size / kFew, 2);
    return {{one, size}, {one % stride, stride}};
  }
  void require_parts_encoded(View<const float> values, const Slice& slice,
                             View<const std::uint32_t> metadata,
                             View<const std::uint32_t> codes) const {
    for (const auto& [first, stride] : parts(values.size())) {
      const std::vector<float> part = part_of(values, first, stride);
      std::vector<std::uint32_t> own(metadata.begin(), metadata.end()), alone(part.size());
      call_plugin(who_, "encode",
                  [&] { format_->encode(part, part_of(slice, first, stride), own, alone); });
      for (std::size_t i = 0; i < part.size(); ++i) {
        const std::uint32_t code = codes[first + i * stride];
        if (alone[i] == code) continue;
        refuse_part("encodes " + exact_text(part[i]) + " as " + hex(code), values.size(),
                    hex(alone[i]), part.size());
      }
    }
  }
  void require_parts_decoded(View<const std::uint32_t> codes, const Slice& slice,
                             View<const std::uint32_t> metadata, View<const float> values) const {
    for (const auto& [first, stride] : parts(codes.size())) {
      const std::vector<std::uint32_t> part = part_of(codes, first, stride);
      std::vector<float> alone(part.size());
      call_plugin(who_, "decode",
                  [&] { format_->decode(part, part_of(slice, first, stride), metadata, alone); });
      for (std::size_t i = 0; i < part.size(); ++i) {
        const float value = values[first + i * stride];
        if (bits_of(alone[i]) == bits_of(value)) continue;
        refuse_part("decodes " + hex(part[i]) + " as " + exact_text(value), codes.size(),
                    exact_text(alone[i]), part.size());
      }
    }
  }
  [[noreturn]] void refuse_part(const std::string& what, std::size_t size, const std::string& other,
                                std::size_t other_size) const {
    refuse(who_, what + " among " + std::to_string(size) + ", and as " + other + " among " +
                     std::to_string(other_size) +
                     " of them, though elementwise() says that any slice can be stored alone");
  }
  void require_exact(View<const float> values, const Slice& slice,
                     View<const std::uint32_t> metadata, View<const std::uint32_t> codes) const {
    std::vector<float> decoded(values.size());
    call_plugin(who_, "decode", [&] { format_->decode(codes, slice, metadata, decoded); });
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (bits_of(decoded[i]) == bits_of(values[i])) continue;
      refuse(who_, "stores " + exact_text(values[i]) + " as " + exact_text(decoded[i]) +
                       " by encode and decode of " + std::to_string(values.size()) +
                       ", and exact() says that it stays " + exact_text(values[i]));
    }
  }
  void try_exact() const {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const std::vector<float> values = {
        0,       -0.0F,         1,        0.1F,      -1.0F / 3,  1.1754942e-38F, 1e-45F,
        -1e-41F, 3.4028235e38F, 16777215, kInfinity, -kInfinity, 0.9999999F,     65519.998F,
        1e-8F,   -2.7182817F};
    const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
    if (refusal(shape) != nullptr) return;
    std::vector<std::uint32_t> codes(values.size());
    encode(values, {shape, 0, 1, 0}, {}, codes);  // the first calls are looked at
  }

  static std::vector<std::uint32_t> complement(View<const std::uint32_t> words) {
    std::vector<std::uint32_t> result;
    for (const std::uint32_t word : words) result.push_back(~word);
    return result;
  }
  void refuse_others(const char* method, const char* what, View<const std::uint32_t> words,
                     const std::vector<std::uint32_t>& others) const {
    for (std::size_t i = 0; i < others.size(); ++i) {
      if (words[i] == others[i]) continue;
      refuse_other(method, what, i, hex(others[i]), hex(words[i]));
    }
  }
  [[noreturn]] void refuse_other(const char* method, const char* what, std::size_t index,
                                 const std::string& first, const std::string& then) const {
    refuse(who_, "gives " + first + " as " + what + " " + std::to_string(index) + " in " + method +
                     ", and " + then +
                     " when called again: it does not write it, or lets it depend on what stood "
                     "there or on other calls");
  }
  static bool is_whole(const Slice& slice, std::size_t values) {
    return static_cast<std::int64_t>(values) == element_count(slice.shape);
  }
  /// metadata: the whole tensor's.
  void check_metadata(View<const std::int64_t> shape, View<const std::uint32_t> metadata,
                      const char* method) const {
    if (metadata.empty()) return;
    const View<const Register> kinds = registers();
    const std::uint32_t* code = metadata.begin();
    for (std::size_t kind = 1; kind < kinds.size(); ++kind) {
      const int bits = kinds[kind].bits;
      for (auto left = register_count(static_cast<int>(kind), shape);
           left > 0 && code != metadata.end(); --left, ++code) {
        if (bits < 32 && *code >> bits != 0) {
          refuse(who_, "gives register '" + std::string(kinds[kind].name) +
                           "' codes of more than its " + std::to_string(bits) + " bits in " +
                           method);
        }
      }
    }
  }

  std::unique_ptr<NumberFormat> format_;
  std::string who_;
  const bool looks_;
  bool calibrated_ = false, elementwise_ = false, exact_ = false;
  const MemoryCode* code_ = nullptr;  // null: it has none
  Names names_;
  std::deque<std::vector<BitClass>> classes_;
  std::vector<Register> registers_;
  std::uint32_t mask_ = ~std::uint32_t{0};  // of a payload
  mutable Looks encodes_, decodes_, emulations_;
};

// What the host threw through a plugin's code, which may have caught it.
class HeldError {
 public:
  template <typename Call>
  void keep(const Call& call) {
    check();
    try {
      call();
    } catch (...) {
      thrown_ = std::current_exception();
      throw;
    }
  }
  void check() const {
    if (thrown_) std::rethrow_exception(thrown_);
  }

 private:
  std::exception_ptr thrown_;
};

/// Ends a draw that does not end by itself, or draws what no register could take.
class LimitedEdits final : public EditSink {
 public:
  /// Borrows all.
  LimitedEdits(EditSink& edits, std::int64_t most, const std::string& who, std::string site,
               bool knows_range)
      : edits_(edits), left_(most), who_(who), site_(std::move(site)), knows_range_(knows_range) {}
  void add(const Edit& edit) override {
    held_.keep([&] {
      if (left_-- <= 0) {
        refuse(who_, "draws more edits for one fault than site '" + site_ + "' has registers");
      }
      if (edit.operation > EditOperation::kValue && is_real(edit.operation) &&
          std::isnan(edit.value)) {
        refuse(who_, std::string("draws the operation ") + to_string(edit.operation) + " with NaN" +
                         (knows_range_ ? ""
                                       : " (SiteView::golden is NaN unless needs_golden_range() is "
                                         "true)"));
      }
      edits_.add(edit);
    });
  }
  /// Once the draw is over.
  void check() const { held_.check(); }

 private:
  EditSink& edits_;
  std::int64_t left_;
  const std::string& who_;
  std::string site_;
  bool knows_range_;
  HeldError held_;
};

class GuardedErrorModel final : public ErrorModel, public EditCondition {
 public:
  GuardedErrorModel(std::unique_ptr<ErrorModel> model, std::string who)
      : model_(std::move(model)), who_(std::move(who)) {
    condition_ = extension_of<EditCondition>(*model_, who_, kEditCondition);
    needs_range_ =
        call_plugin(who_, "needs_golden_range", [&] { return model_->needs_golden_range(); });
  }
  ~GuardedErrorModel() override { destroy(model_, who_); }

  const void* extension(const char* name) const override {
    if (std::string_view(name) != kEditCondition) {
      return call_plugin(who_, "extension", [&] { return model_->extension(name); });
    }
    return condition_ == nullptr ? nullptr : static_cast<const EditCondition*>(this);
  }
  bool holds(const EditFinds& finds) const override {
    return call_plugin(who_, "holds", [&] { return condition_->holds(finds); });
  }

  bool needs_golden_range() const override { return needs_range_; }
  double population(const SiteView& site) const override {
    const double count = call_plugin(who_, "population", [&] { return model_->population(site); });
    const std::string at = " at site '" + std::string(site.name) + "'";
    if (!(count >= 0)) refuse(who_, "has a population that is not a count" + at);
    const double again = call_plugin(who_, "population", [&] { return model_->population(site); });
    if (again != count) {
      refuse(who_, "has a population that changes from call to call" + at + ": " +
                       std::to_string(count) + ", then " + std::to_string(again));
    }
    return count;
  }
  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    std::int64_t most = 1024;  // edits that one register of each may need, and some
    for (const SiteRegister& kind : site.registers) most = std::max(most, kind.count);
    LimitedEdits limited(edits, most, who_, std::string(site.name), needs_range_);
    call_plugin(who_, "draw", [&] {
      model_->draw(site, random, limited);
      limited.check();
    });
  }

 private:
  std::unique_ptr<ErrorModel> model_;
  std::string who_;
  const EditCondition* condition_ = nullptr;  // null: it has none
  bool needs_range_ = false;
};

class GuardedMetric final : public Metric {
 public:
  GuardedMetric(std::unique_ptr<Metric> metric, std::string who, bool copies)
      : metric_(std::move(metric)), who_(std::move(who)), copies_(copies) {
    // Once: a metric of other columns from call to call would be none.
    const View<const MetricColumn> given =
        call_plugin(who_, "columns", [&] { return metric_->columns(); });
    for (MetricColumn column : given) {
      column.name = names_.keep(column.name);
      column.unit = names_.keep(column.unit);
      column.help = names_.keep(column.help);
      columns_.push_back(column);
    }
  }
  ~GuardedMetric() override { destroy(metric_, who_); }

  View<const MetricColumn> columns() const override { return columns_; }
  void measure(const Observation& observation, View<double> values) const override {
    // A number that nobody means, so that what was not written shows, with one more behind.
    const double unwritten = std::bit_cast<double>(std::uint64_t{0x7FF8B17FA11B17FA});
    const auto is_unwritten = [&](double value) {
      return std::bit_cast<std::uint64_t>(value) == std::bit_cast<std::uint64_t>(unwritten);
    };
    std::vector<double> written(values.size() + 1, unwritten);
    const Lent golden(observation.golden_logits, copies_);
    const Lent faulty(observation.faulty_logits, copies_);
    Observation shown = observation;
    shown.golden_logits = golden.view();
    shown.faulty_logits = faulty.view();
    call_plugin(who_, "measure",
                [&] { metric_->measure(shown, std::span(written).first(values.size())); });
    golden.require_untouched(who_, "the golden logits in measure");
    faulty.require_untouched(who_, "the faulty logits in measure");
    if (!is_unwritten(written.back())) refuse(who_, "writes more columns in measure than it has");
    for (std::size_t i = 0; i < values.size(); ++i) {
      const MetricColumn& column = columns_[i];
      if (is_unwritten(written[i])) {
        refuse(who_, "leaves column '" + std::string(column.name) + "' unwritten in measure");
      }
      if (column.kind == ColumnKind::kEvent && written[i] != 0 && written[i] != 1) {
        refuse(who_, "gives " + std::to_string(written[i]) + " for event '" +
                         std::string(column.name) + "', which is 0 or 1");
      }
    }
    std::copy(written.begin(), written.end() - 1, values.begin());
  }

 private:
  std::unique_ptr<Metric> metric_;
  std::string who_;
  const bool copies_;  // of logits are what it is shown
  Names names_;
  std::vector<MetricColumn> columns_;
};

/// A name that is usable as a column or in a fault list, and new among `names`.
void check_name(const std::string& who, const char* noun, const char* name,
                std::set<std::string>& names) {
  const std::string quoted = std::string(noun) + " '" + (name ? name : "") + "'";
  if (name == nullptr || !is_snake_case(name)) refuse(who, "has a " + quoted + ", not snake_case");
  if (!names.insert(name).second) refuse(who, "has the " + quoted + " twice");
}

/// Hands layers on that fit each other.
class CheckedHeadLayers final : public HeadLayers {
 public:
  CheckedHeadLayers(HeadLayers& layers, std::int64_t features, const std::string& who)
      : layers_(layers), width_(features), who_(who) {}

  void linear(const char* name, std::int64_t outputs, std::int64_t inputs, View<const float> weight,
              View<const float> bias, bool trainable) override {
    held_.keep([&] {
      check_matrix(name, outputs, inputs, weight, bias, "weight");
      layers_.linear(name, outputs, inputs, weight, bias, trainable);
    });
  }
  void normalise(const char* name, double epsilon) override {
    held_.keep([&] {
      check_layer(name);
      if (!(epsilon > 0) || !std::isfinite(epsilon)) {
        refuse(who_, "builds a layer '" + std::string(name) + "' whose epsilon is not positive");
      }
      layers_.normalise(name, epsilon);
    });
  }
  void scale(const char* name, double log_factor, bool trainable) override {
    held_.keep([&] {
      check_layer(name);
      if (!std::isfinite(log_factor)) {
        refuse(who_,
               "builds a layer '" + std::string(name) + "' whose factor is not a finite number");
      }
      layers_.scale(name, log_factor, trainable);
    });
  }

  void activation(const char* name, Text function) override {
    held_.keep([&] {
      check_layer(name);
      static const std::set<std::string_view> kKnown = {"gelu", "relu", "sigmoid", "silu", "tanh"};
      if (kKnown.count(function) == 0) {
        refuse(who_, "builds a layer '" + std::string(name) + "' of the function " +
                         in_quotes(function) + "; known are gelu, relu, sigmoid, silu, tanh");
      }
      layers_.activation(name, function);
    });
  }
  void distance(const char* name, std::int64_t outputs, std::int64_t inputs,
                View<const float> centres, double factor, bool trainable) override {
    held_.keep([&] {
      check_matrix(name, outputs, inputs, centres, {}, "centre");
      if (!(factor > 0) || !std::isfinite(factor)) {
        refuse(who_, "builds a layer '" + std::string(name) + "' whose factor is not positive");
      }
      layers_.distance(name, outputs, inputs, centres, factor, trainable);
    });
  }

  void check_end(std::size_t classes) const {
    held_.check();
    if (linear_ && width_ == static_cast<std::int64_t>(classes)) return;
    refuse(who_, "builds a head that ends in " + std::to_string(width_) + " values for " +
                     std::to_string(classes) + " classes" +
                     (linear_ ? "" : ", without a layer of weights"));
  }

 private:
  void check_matrix(const char* name, std::int64_t outputs, std::int64_t inputs,
                    View<const float> rows, View<const float> bias, const char* noun) {
    check_layer(name);
    const std::string layer = "builds a layer '" + std::string(name) + "' ";
    if (inputs != width_) {
      refuse(who_, layer + "of " + std::to_string(inputs) + " inputs after " +
                       std::to_string(width_) + " values");
    }
    if (outputs < 1 || rows.size() != static_cast<std::size_t>(outputs * inputs) ||
        (!bias.empty() && bias.size() != static_cast<std::size_t>(outputs))) {
      refuse(who_, layer + "whose " + std::to_string(rows.size()) + " " + noun + "s and " +
                       std::to_string(bias.size()) + " biases do not make " +
                       std::to_string(outputs) + " outputs of " + std::to_string(inputs) +
                       " inputs");
    }
    for (const View<const float> values : {rows, bias}) {
      for (const float value : values) {
        if (!std::isfinite(value)) {
          refuse(who_, layer + "with a " + noun + " that is not a finite number");
        }
      }
    }
    width_ = outputs;
    linear_ = true;
  }
  void check_layer(const char* name) {
    // What a module of TorchScript cannot call a part of it.
    static const std::set<std::string> kTaken = {
        "and",      "as",       "assert", "async", "await",    "break",   "class",
        "continue", "def",      "del",    "elif",  "else",     "except",  "finally",
        "for",      "from",     "global", "if",    "import",   "in",      "is",
        "lambda",   "nonlocal", "not",    "or",    "pass",     "raise",   "return",
        "try",      "while",    "with",   "yield", "training", "forward", "self"};
    check_name(who_, "layer", name, names_);
    if (kTaken.count(name) > 0) {
      refuse(who_, "has a layer '" + std::string(name) + "', a word that is reserved in modules");
    }
  }

  HeadLayers& layers_;
  std::int64_t width_;
  bool linear_ = false;
  const std::string& who_;
  std::set<std::string> names_;
  HeldError held_;
};

class GuardedHeadInit final : public HeadInit, public FeatureLearner {
 public:
  GuardedHeadInit(std::unique_ptr<HeadInit> init, std::string who)
      : init_(std::move(init)), who_(std::move(who)) {
    learner_ = extension_of<FeatureLearner>(*init_, who_, kTrainingFeatures);
  }
  ~GuardedHeadInit() override { destroy(init_, who_); }

  const void* extension(const char* name) const override {
    if (std::string_view(name) != kTrainingFeatures) {
      return call_plugin(who_, "extension", [&] { return init_->extension(name); });
    }
    return learner_ == nullptr ? nullptr : static_cast<const FeatureLearner*>(this);
  }
  void build(const HeadRequest& request, const TrainingFeatures& features, RandomStream& random,
             HeadLayers& layers) const override {
    checked_build(request, layers, [&](HeadLayers& checked) {
      learner_->build(request, features, random, checked);
    });
  }

  bool needs_embeddings() const override {
    return call_plugin(who_, "needs_embeddings", [&] { return init_->needs_embeddings(); });
  }
  void build(const HeadRequest& request, RandomStream& random, HeadLayers& layers) const override {
    checked_build(request, layers,
                  [&](HeadLayers& checked) { init_->build(request, random, checked); });
  }

 private:
  template <typename Build>
  void checked_build(const HeadRequest& request, HeadLayers& layers, const Build& build) const {
    CheckedHeadLayers checked(layers, request.features, who_);
    call_plugin(who_, "build", [&] {
      try {
        build(checked);
      } catch (const std::invalid_argument& complaint) {
        throw Error(ExitCode::kUsage, who_ + ": " + complaint.what());
      }
    });
    checked.check_end(request.classes.size());
  }

  std::unique_ptr<HeadInit> init_;
  std::string who_;
  const FeatureLearner* learner_ = nullptr;  // null: it learns from none
};

class GuardedProtection final : public Protection {
 public:
  GuardedProtection(std::unique_ptr<Protection> protection, std::string who, bool looks)
      : protection_(std::move(protection)), who_(std::move(who)), learns_(looks), guards_(looks) {}
  ~GuardedProtection() override { destroy(protection_, who_); }

  bool wants(const ProtectedSite& site) const override {
    return the_same("wants", &site, [&] { return protection_->wants(site); }) != 0;
  }
  int passes() const override {
    const std::int64_t passes = the_same("passes", nullptr, [&] { return protection_->passes(); });
    if (passes < 0 || passes > 16) {
      refuse(who_, "wants " + std::to_string(passes) + " passes, allowed are 0 to 16");
    }
    return static_cast<int>(passes);
  }
  std::int64_t scratch_size(const ProtectedSite& site) const override {
    return checked_size(
        site, the_same("scratch_size", &site, [&] { return protection_->scratch_size(site); }));
  }
  void learn(const ProtectedSite& site, int pass, View<const float> values,
             View<double> scratch) const override {
    if (!learns_.at_this_call()) {
      call_plugin(who_, "learn", [&] { protection_->learn(site, pass, values, scratch); });
      return;
    }
    const Lent lent(values);
    call_plugin(who_, "learn", [&] { protection_->learn(site, pass, lent.view(), scratch); });
    lent.require_untouched(who_, "the values in learn");
  }
  std::int64_t state_size(const ProtectedSite& site) const override {
    return checked_size(
        site, the_same("state_size", &site, [&] { return protection_->state_size(site); }));
  }
  void finish(const ProtectedSite& site, View<const double> scratch,
              View<float> state) const override {
    const float unwritten = std::bit_cast<float>(std::uint32_t{0x7FF1B17F});
    std::fill(state.begin(), state.end(), unwritten);
    call_plugin(who_, "finish", [&] { protection_->finish(site, scratch, state); });
    for (const float value : state) {
      if (std::bit_cast<std::uint32_t>(value) != std::bit_cast<std::uint32_t>(unwritten)) continue;
      refuse_at(site, "leaves part of its state of " + std::to_string(state.size()) +
                          " numbers (state_size) unwritten in finish");
    }
  }
  Verdict guard(const ProtectedSite& site, View<float> values, const Slice& slice,
                View<const float> state) const override {
    const bool look = guards_.at_this_call();
    std::vector<float> before;
    if (look) before.assign(values.begin(), values.end());
    const Verdict verdict = guard_once(site, values, slice, state, look);
    if (look && site.operation != "answer") {
      require_parts_guarded(site, before, values, verdict.detected, slice, state);
    }
    return verdict;
  }
  ProtectionCost cost(const ProtectedSite& site) const override {
    const ProtectionCost cost = call_plugin(who_, "cost", [&] { return protection_->cost(site); });
    if (!std::isfinite(cost.operations) || cost.operations < 0 || cost.stored_bits < 0) {
      refuse(who_, "has a cost that is not a count at site " + in_quotes(site.name));
    }
    return cost;
  }
  bool computed_twice(const ProtectedSite& site) const override {
    return the_same("computed_twice", &site, [&] { return protection_->computed_twice(site); }) !=
           0;
  }
  const void* extension(const char* name) const override {
    return call_plugin(who_, "extension", [&] { return protection_->extension(name); });
  }

 private:
  // The place of the call names the site where a trial or pass is known.
  [[noreturn]] void refuse_at(const ProtectedSite& site, const std::string& problem) const {
    refuse(who_, problem + (place_of_call().empty() ? ", at site " + in_quotes(site.name) : ""));
  }
  std::int64_t checked_size(const ProtectedSite& site, std::int64_t size) const {
    constexpr std::int64_t kMost = std::int64_t{1} << 26;
    if (size < 0 || size > kMost) {
      refuse_at(site, "keeps " + std::to_string(size) + " numbers");
    }
    return size;
  }
  /// What a method says of a site (null: of none): the same each time, as arrays are made by it.
  template <typename Ask>
  std::int64_t the_same(const char* method, const ProtectedSite* site, const Ask& ask) const {
    const std::int64_t once = call_plugin(who_, method, ask), said = call_plugin(who_, method, ask);
    std::string key = method;
    if (site != nullptr) key += " at " + std::string(site->name);
    if (site != nullptr) {
      for (const std::int64_t size : site->shape) key += ", " + std::to_string(size);
    }
    std::int64_t first = once;
    {
      const std::lock_guard lock(mutex_);
      first = said_.emplace(key, once).first->second;
    }
    if (first == once && first == said) return first;
    refuse(who_, "says " + std::to_string(first) + " in " + method + ", and " +
                     std::to_string(first == once ? said : once) + " when asked again" +
                     (site == nullptr || !place_of_call().empty()
                          ? ""
                          : ", at site " + in_quotes(site->name)));
  }
  Verdict guard_once(const ProtectedSite& site, View<float> values, const Slice& slice,
                     View<const float> state, bool look) const {
    const Lent<float> lent(look ? state : View<const float>());
    const View<const float> shown = look ? lent.view() : state;
    const Verdict verdict =
        call_plugin(who_, "guard", [&] { return protection_->guard(site, values, slice, shown); });
    lent.require_untouched(who_, "its state in guard");
    if (verdict.corrected < 0 || verdict.corrected > verdict.detected ||
        verdict.detected > static_cast<std::int64_t>(values.size())) {
      refuse_at(site, "detects " + std::to_string(verdict.detected) + " and corrects " +
                          std::to_string(verdict.corrected) + " of " +
                          std::to_string(values.size()) +
                          " values in guard: it can detect as many as there are, and correct as "
                          "many as it detects");
    }
    if (verdict.again && site.operation != "answer") {
      refuse_at(site, "asks in guard to compute once more, which is for the answer alone");
    }
    return verdict;
  }
  /// One value alone, and every second of them, are guarded as all together.
  void require_parts_guarded(const ProtectedSite& site, View<const float> before,
                             View<const float> after, std::int64_t detected, const Slice& slice,
                             View<const float> state) const {
    const std::size_t size = before.size();
    if (size < 2) return;
    const auto part = [&](std::size_t first, std::size_t stride) {
      std::vector<float> values = part_of(before, first, stride);
      const Verdict verdict = guard_once(site, values, part_of(slice, first, stride), state, true);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::size_t at = first + i * stride;
        if (bits_of(values[i]) == bits_of(after[at])) continue;
        refuse_at(site, "makes " + exact_text(after[at]) + " of " + exact_text(before[at]) +
                            " in guard of " + std::to_string(size) + " values, and " +
                            exact_text(values[i]) + " of it in guard of " +
                            std::to_string(values.size()) + " of them" + kByPlace);
      }
      return verdict.detected;
    };
    part(most_likely_guarded(before, after), size);
    const std::int64_t in_parts = part(0, 2) + part(1, 2);
    if (in_parts == detected) return;
    refuse_at(site, "detects " + std::to_string(detected) + " of " + std::to_string(size) +
                        " values in guard, and " + std::to_string(in_parts) +
                        " of them in two halves" + kByPlace);
  }
  /// One that was changed, or of the largest magnitude, NaN first.
  static std::size_t most_likely_guarded(View<const float> before, View<const float> after) {
    std::size_t largest = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (bits_of(before[i]) != bits_of(after[i])) return i;
      const float most = std::fabs(before[largest]);
      if (!std::isnan(most) && !(std::fabs(before[i]) <= most)) largest = i;
    }
    return largest;
  }
  static constexpr const char* kByPlace =
      ": what becomes of a value may depend on its place and the state alone";

  std::unique_ptr<Protection> protection_;
  std::string who_;
  mutable Looks learns_, guards_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::int64_t> said_;  // by method and site
};

}  // namespace

std::string told_by(const std::exception& error) {
  constexpr std::size_t kMost = 1000;
  const char* const what = error.what();
  const std::string_view whole = what ? what : "", told = first_code_points(whole, kMost);
  std::string line;
  for (const char c : told) line += c == '\n' ? std::string("; ") : std::string(1, c);
  return printable(line) + (told.size() < whole.size() ? "..." : "");
}

std::unique_ptr<NumberFormat> guard(std::unique_ptr<NumberFormat> format, const std::string& who,
                                    bool twice) {
  auto guarded = std::make_unique<GuardedFormat>(std::move(format), who, twice);
  const auto registers = guarded->registers();
  if (registers.empty()) refuse(who, "has no registers");
  std::set<std::string> names;
  for (const auto& reg : registers) {
    check_name(who, "register", reg.name, names);
    const std::string quoted = "a register '" + std::string(reg.name) + "'";
    if (reg.bits < 1 || reg.bits > 32) {
      refuse(who,
             "has " + quoted + " of " + std::to_string(reg.bits) + " bits, allowed are 1 to 32");
    }
    if (reg.bit_classes.size() != static_cast<std::size_t>(reg.bits)) {
      refuse(who, "has " + quoted + " of " + std::to_string(reg.bits) + " bits with " +
                      std::to_string(reg.bit_classes.size()) + " bit classes");
    }
    for (const BitClass bit_class : reg.bit_classes) {
      if (bit_class > BitClass::kMetadata)
        refuse(who, "has " + quoted + " with an unknown bit class");
    }
  }
  if (std::string_view(registers[0].name) != "payload") {
    refuse(who, "has a first register '" + std::string(registers[0].name) + "', not 'payload'");
  }
  guarded->know_registers();
  return guarded;
}

std::unique_ptr<ErrorModel> guard(std::unique_ptr<ErrorModel> model, const std::string& who) {
  return std::make_unique<GuardedErrorModel>(std::move(model), who);
}

std::unique_ptr<Metric> guard(std::unique_ptr<Metric> metric, const std::string& who, bool copies) {
  auto guarded = std::make_unique<GuardedMetric>(std::move(metric), who, copies);
  const auto columns = guarded->columns();
  if (columns.empty()) refuse(who, "has no columns");
  std::set<std::string> names;
  for (const auto& column : columns) {
    check_name(who, "column", column.name, names);
    if (column.kind > ColumnKind::kQuantity) {
      refuse(who, "has a column '" + std::string(column.name) + "' of an unknown kind");
    }
    if (column.unit == nullptr || column.help == nullptr) {
      refuse(who, "has a column '" + std::string(column.name) + "' without unit or help");
    }
  }
  return guarded;
}

std::unique_ptr<HeadInit> guard(std::unique_ptr<HeadInit> init, const std::string& who) {
  return std::make_unique<GuardedHeadInit>(std::move(init), who);
}

std::unique_ptr<Protection> guard(std::unique_ptr<Protection> protection, const std::string& who,
                                  bool twice) {
  return std::make_unique<GuardedProtection>(std::move(protection), who, twice);
}

}  // namespace bitfall
