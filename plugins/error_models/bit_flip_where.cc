// bit_flip_where: one bit of an element that has a value or a bit as asked for.
#include <cmath>
#include <stdexcept>
#include <string>
#include <string_view>

#include "bit_selection.h"
#include "bitfall/extensions/edit_condition.h"
#include "error_models.h"

namespace bitfall {
namespace {

constexpr double kNoBound = 3.5e38;  // above float32's largest

class BitFlipWhere final : public ErrorModel, public EditCondition {
 public:
  explicit BitFlipWhere(const Options& options)
      : selection_(options, /*bits=*/1, /*adjacent=*/false, "payload"),
        values_(options.text("values")),
        bit_is_(options.text("bit_is")),
        least_(options.number("magnitude_from")),
        most_(options.number("magnitude_to")) {
    if (least_ > most_) {
      throw std::invalid_argument(
          "magnitude_from: is above magnitude_to, so that no value is left");
    }
  }

  double population(const SiteView& site) const override { return selection_.population(site); }

  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    const BitChoice choice = selection_.draw(site, random);
    edits.add({choice.element, choice.register_index, EditOperation::kFlip, choice.mask});
  }

  bool holds(const EditFinds& finds) const override {
    const double magnitude = std::fabs(finds.value);
    if (least_ > 0 && !(magnitude >= least_)) return false;
    if (most_ < kNoBound && !(magnitude <= most_)) return false;
    if (values_ == "positive" && !(finds.value > 0)) return false;
    if (values_ == "negative" && !(finds.value < 0)) return false;
    if (values_ == "zero" && finds.value != 0) return false;
    if (values_ == "nonzero" && finds.value == 0) return false;
    const bool one = (finds.code & finds.edit->mask) != 0;
    return bit_is_ == "any" || (bit_is_ == "one") == one;
  }

  const void* extension(const char* name) const override {
    if (std::string_view(name) != kEditCondition) return nullptr;
    return static_cast<const EditCondition*>(this);
  }

 private:
  BitSelection selection_;
  std::string values_, bit_is_;
  double least_, most_;
};

constexpr OptionSpec kOptions[] = {
    {"values", OptionType::kText, "any", 0, 0, "any|positive|negative|zero|nonzero",
     "Which values may be hit, as they are without the fault; NaN is none of them but nonzero"},
    {"magnitude_from", OptionType::kNumber, "0", 0, kNoBound, nullptr,
     "The smallest magnitude that is hit; 0 = all, NaN too"},
    {"magnitude_to", OptionType::kNumber, "3.5e38", 0, kNoBound, nullptr,
     "The largest magnitude that is hit; 3.5e38 = all, Inf and NaN too"},
    {"bit_is", OptionType::kText, "any", 0, 0, "any|zero|one", "What the bit is before it flips"},
    kBitRangeOption,
    kBitClassOption,
};

}  // namespace

const Component<ErrorModel> kBitFlipWhere{
    "bit_flip_where",
    "Flips one bit of an element whose value, or bit, is as asked for; drawn until one is",
    kOptions, [](const Options& options) -> ErrorModel* { return new BitFlipWhere(options); }};

}  // namespace bitfall
