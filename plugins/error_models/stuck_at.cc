// stuck_at: one bit of one register reads as a constant. Where it already has that state the fault
// is masked.
#include <string_view>

#include "bit_selection.h"
#include "bitfall/extensions/bit_faults.h"
#include "error_models.h"

namespace bitfall {
namespace {

class StuckAt final : public ErrorModel {
 public:
  explicit StuckAt(const Options& options)
      : selection_(options, /*bits=*/1, /*adjacent=*/false),
        operation_(options.integer("value") == 0 ? EditOperation::kClear : EditOperation::kSet) {}

  double population(const SiteView& site) const override { return selection_.population(site); }

  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    const BitChoice choice = selection_.draw(site, random);
    edits.add({choice.element, choice.register_index, operation_, choice.mask});
  }

  const void* extension(const char* name) const override {
    return std::string_view(name) == kBitFaults ? &kOneBitEach : nullptr;
  }

 private:
  BitSelection selection_;
  EditOperation operation_;
};

constexpr OptionSpec kOptions[] = {
    {"value", OptionType::kInteger, nullptr, 0, 1, nullptr, "The state that the bit is stuck at"},
    kBitRangeOption,
    kBitClassOption,
    kRegistersOption,
};

}  // namespace

const Component<ErrorModel> kStuckAt{
    "stuck_at", "Sets or clears one bit of one register, every bit equally likely", kOptions,
    [](const Options& options) -> ErrorModel* { return new StuckAt(options); }};

}  // namespace bitfall
