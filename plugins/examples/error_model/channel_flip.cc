// channel_flip: one bit of all values of a channel is flipped, as by a fault in the unit that
// computes the channel.
#include "bitfall/plugin.h"

namespace {

using namespace bitfall;

/// 0 where a site has no channels: the error model cannot hit it then.
std::int64_t channels(const SiteView& site) {
  return site.channel_axis < 0 ? 0 : site.shape[static_cast<std::size_t>(site.channel_axis)];
}

class ChannelFlip final : public ErrorModel {
 public:
  double population(const SiteView& site) const override {
    return static_cast<double>(channels(site)) * site.registers[0].bits;
  }

  void draw(const SiteView& site, RandomStream& random, EditSink& edits) const override {
    const auto below = [&](std::int64_t n) {
      return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(n)));
    };
    const std::int64_t channel = below(channels(site));
    const std::uint32_t mask = std::uint32_t{1} << below(site.registers[0].bits);
    // Values of one channel lie in runs of this length.
    const auto after = static_cast<std::size_t>(site.channel_axis) + 1;
    const std::int64_t run = element_count(site.shape.subspan(after));
    const std::int64_t all = element_count(site.shape);
    for (std::int64_t first = channel * run; first < all; first += channels(site) * run) {
      for (std::int64_t element = first; element < first + run; ++element) {
        edits.add({.element = element, .operation = EditOperation::kFlip, .mask = mask});
      }
    }
  }
};

constexpr Component<ErrorModel> kChannelFlip{
    "channel_flip",
    "Flips one bit of all values of a channel",
    {},
    [](const Options&) -> ErrorModel* { return new ChannelFlip; }};

constexpr About kAbout{.name = "channel_flip",
                       .version = "1.0",
                       .summary = "An error model of a whole channel",
                       .group = nullptr,
                       .licence = nullptr};  // an SPDX expression, such as "Apache-2.0"

}  // namespace

BITFALL_PLUGIN_ABOUT(kAbout, kChannelFlip);
