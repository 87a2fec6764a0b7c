// bit_flip: distinct bits of one register change their state.
#include <string_view>

#include "bit_selection.h"
#include "bitfall/extensions/bit_faults.h"
#include "error_models.h"

namespace bitfall {
namespace {

class BitFlip final : public ErrorModel {
 public:
  explicit BitFlip(const Options& options)
      : selection_(options, static_cast<int>(options.integer("bits")), options.flag("adjacent")),
        bits_(options.integer("bits")) {}

  double population(const SiteView& site) const override { return selection_.population(site); }

  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    const BitChoice choice = selection_.draw(site, random);
    edits.add({choice.element, choice.register_index, EditOperation::kFlip, choice.mask});
  }

  const void* extension(const char* name) const override {
    return bits_ == 1 && std::string_view(name) == kBitFaults ? &kOneBitEach : nullptr;
  }

 private:
  BitSelection selection_;
  std::int64_t bits_;
};

constexpr OptionSpec kOptions[] = {
    {"bits", OptionType::kInteger, "1", 1, 32, nullptr,
     "How many distinct bits of one register are flipped together"},
    {"adjacent", OptionType::kFlag, "false", 0, 0, nullptr,
     "Whether the flipped bits are consecutive (a burst)"},
    kBitRangeOption,
    kBitClassOption,
    kRegistersOption,
};

}  // namespace

const Component<ErrorModel> kBitFlip{
    "bit_flip", "Flips bits of one register, every choice of register and bits equally likely",
    kOptions, [](const Options& options) -> ErrorModel* { return new BitFlip(options); }};

}  // namespace bitfall
