// clamp: values are brought back into the range that training images gave at their layer.
#include <algorithm>
#include <cmath>

#include "bitfall/plugin.h"

namespace {

using namespace bitfall;

class Clamp final : public Protection {
 public:
  bool wants(const ProtectedSite& site) const override { return site.operation != "answer"; }

  // Least and largest value so far, and how many were seen.
  std::int64_t scratch_size(const ProtectedSite&) const override { return 3; }
  void learn(const ProtectedSite&, int, View<const float> values,
             View<double> scratch) const override {
    for (const double value : values) {
      if (!std::isfinite(value)) continue;
      scratch[0] = scratch[2] == 0 ? value : std::min(scratch[0], value);
      scratch[1] = scratch[2] == 0 ? value : std::max(scratch[1], value);
      ++scratch[2];
    }
  }

  std::int64_t state_size(const ProtectedSite&) const override { return 2; }
  void finish(const ProtectedSite&, View<const double> scratch, View<float> state) const override {
    state[0] = static_cast<float>(scratch[0]);
    state[1] = static_cast<float>(scratch[1]);
  }

  Verdict guard(const ProtectedSite&, View<float> values, const Slice&,
                View<const float> state) const override {
    const float low = state[0], high = state[1];
    Verdict verdict;
    if (std::isnan(low) || std::isnan(high)) return verdict;  // a fault has hit the bounds
    for (float& value : values) {
      if (value >= low && value <= high) continue;
      value = value < low || std::isnan(value) ? low : high;
      ++verdict.detected;
      ++verdict.corrected;
    }
    return verdict;
  }

  ProtectionCost cost(const ProtectedSite& site) const override {
    return {2.0 * static_cast<double>(element_count(site.shape)), 2 * 32};
  }
};

constexpr Component<Protection> kClamp{"clamp",
                                       "Brings values back into the range of training images",
                                       {},
                                       [](const Options&) -> Protection* { return new Clamp; }};

constexpr About kAbout{.name = "clamp",
                       .version = "1.0",
                       .summary = "A guard of each layer's range",
                       .group = nullptr,
                       .licence = nullptr};  // an SPDX expression, such as "Apache-2.0"

}  // namespace

BITFALL_PLUGIN_ABOUT(kAbout, kClamp);
