// range: values outside of what training images gave are brought back. By the options it is Ranger
// (layer, clamp; Chen et al., DSN 2021), Clip-Act (layer, zero; Hoang et al., DATE 2020, with its
// threshold by percentile), FitAct (neuron, zero; Ghavami et al., DATE 2022), or between.
#include <cmath>
#include <string_view>

#include "bitfall/extensions/guard_ranges.h"
#include "bounds.h"
#include "protections.h"

namespace bitfall_plugins {
namespace {

using namespace bitfall;  // NOLINT(google-build-using-namespace)

constexpr OptionSpec kOptions[] = {
    {"scope", OptionType::kText, "layer", 0, 0, "layer|channel|neuron",
     "What has bounds of its own: all of a site, each channel, or each value."},
    {"action", OptionType::kText, "clamp", 0, 0, "clamp|zero",
     "What becomes of a value outside: the bound that it is beyond, or 0. NaN becomes 0."},
    {"percentile", OptionType::kNumber, "100", 50, 100, nullptr,
     "Per cent of the learned values below the upper bound and above the lower one; 100: all."},
    {"margin", OptionType::kNumber, "1", 0, 1000, nullptr,
     "Factor on a negative lower and a positive upper bound."},
};

Scope scope_of(std::string_view name) {
  return name == "layer" ? Scope::kLayer : name == "channel" ? Scope::kChannel : Scope::kNeuron;
}

class RangeGuard final : public BoundGuard {
 public:
  explicit RangeGuard(const Options& options)
      : BoundGuard(scope_of(options.text("scope")), options.number("percentile"),
                   options.number("margin")),
        zero_(options.text("action") == "zero") {}

  bool wants(const ProtectedSite& site) const override { return site.operation != "answer"; }

  Verdict guard(const ProtectedSite& site, View<float> values, const Slice& slice,
                View<const float> state) const override {
    const Units units = this->units(site);
    Verdict verdict;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto unit = static_cast<std::size_t>(
          units.of(slice.first + static_cast<std::int64_t>(i) * slice.stride));
      const float low = state[2 * unit], high = state[2 * unit + 1];
      float& value = values[i];
      if (value >= low && value <= high) continue;
      // A bound may be hit, too: one that is NaN guards nothing.
      if (std::isnan(low) || std::isnan(high)) continue;
      ++verdict.detected;
      ++verdict.corrected;
      value = zero_ || std::isnan(value) ? 0 : value < low ? low : high;
    }
    return verdict;
  }

  const void* extension(const char* name) const override {
    return std::string_view(name) == kGuardRanges ? &ranges_ : nullptr;
  }

 private:
  bool zero_;
  GuardRanges ranges_{sizeof(GuardRanges), zero_};
};

}  // namespace

const Component<Protection> kRange{
    "range", "Brings values outside of the range of training images back, or to 0", kOptions,
    [](const Options& options) -> Protection* { return new RangeGuard(options); }};

}  // namespace bitfall_plugins
