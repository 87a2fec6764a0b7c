// bit_error_rate: every selected stored bit of the site flips with the same probability, on its
// own.
#include <bit>

#include "binomial.h"
#include "bit_selection.h"
#include "distinct_numbers.h"
#include "error_models.h"

namespace bitfall {
namespace {

/// The selected bits of one kind of register.
struct BitField {
  std::uint32_t candidates = 0;
  int width = 0;
  std::int64_t registers = 0;
  std::int64_t bits() const { return width * registers; }
};

/// Turns numbers of selected bits of the site, counted through kinds of registers, registers and
/// bits in this order, into one edit a register. The numbers must rise.
class EditWriter {
 public:
  EditWriter(const BitSelection& selection, const SiteView& site, EditSink& edits)
      : selection_(selection), site_(site), edits_(edits) {}

  void flip(std::int64_t number) {
    while (number >= end_) next_kind();
    const std::int64_t offset = number - (end_ - field_.bits());
    const std::int64_t element = offset / field_.width;
    if (element != edit_.element) finish();
    edit_.element = element;
    edit_.mask |= 1u << nth_bit(field_.candidates, static_cast<int>(offset % field_.width));
  }

  /// Adds the last register's edit.
  void finish() {
    if (edit_.mask != 0) edits_.add(edit_);
    edit_.mask = 0;
  }

 private:
  void next_kind() {
    finish();
    const std::uint32_t candidates = selection_.candidates(site_, kind_);
    field_ = {candidates, std::popcount(candidates), site_.registers[kind_].count};
    edit_.register_index = static_cast<std::int32_t>(kind_++);
    end_ += field_.bits();
  }

  const BitSelection& selection_;
  const SiteView& site_;
  EditSink& edits_;
  Edit edit_;
  BitField field_;
  std::size_t kind_ = 0;
  std::int64_t end_ = 0;  // the number after the last bit of the kinds so far
};

class BitErrorRate final : public ErrorModel {
 public:
  explicit BitErrorRate(const Options& options)
      : selection_(options, /*bits=*/1, /*adjacent=*/false),
        rate_(options.number("rate")),
        at_least_one_(options.flag("at_least_one")) {}

  /// The bits that may be hit: a fault is any set of them.
  double population(const SiteView& site) const override { return selection_.population(site); }

  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    const auto bits = static_cast<std::int64_t>(selection_.population(site));
    const std::int64_t count = draw_binomial(random, bits, rate_, at_least_one_);
    if (count == 0) {
      edits.add({});  // flips nothing: a fault without an edit could not be stored
      return;
    }
    EditWriter writer(selection_, site, edits);
    visit_distinct(random, bits, count, [&](std::int64_t number) { writer.flip(number); });
    writer.finish();
  }

 private:
  BitSelection selection_;
  double rate_;
  bool at_least_one_;
};

constexpr OptionSpec kOptions[] = {
    {"rate", OptionType::kNumber, nullptr, 1e-20, 1, nullptr,
     "Probability that one stored bit flips, independently of the others"},
    {"at_least_one", OptionType::kFlag, "false", 0, 0, nullptr,
     "Whether faults that flip nothing are left out: the distribution given at least one flip"},
    kBitRangeOption,
    kBitClassOption,
    kRegistersOption,
};

}  // namespace

const Component<ErrorModel> kBitErrorRate{
    "bit_error_rate", "Flips every stored bit of the site with the same small probability",
    kOptions, [](const Options& options) -> ErrorModel* { return new BitErrorRate(options); }};

}  // namespace bitfall
