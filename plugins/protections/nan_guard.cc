// nan_guard: NaN and Inf become 0.
#include <cmath>
#include <string_view>

#include "bitfall/extensions/guard_ranges.h"
#include "protections.h"

namespace bitfall_plugins {
namespace {

using namespace bitfall;  // NOLINT(google-build-using-namespace)

class NanGuard final : public Protection {
 public:
  bool wants(const ProtectedSite& site) const override { return site.operation != "answer"; }
  int passes() const override { return 0; }
  Verdict guard(const ProtectedSite&, View<float> values, const Slice&,
                View<const float>) const override {
    Verdict verdict;
    for (float& value : values) {
      if (std::isfinite(value)) continue;
      value = 0;
      ++verdict.detected;
      ++verdict.corrected;
    }
    return verdict;
  }
  const void* extension(const char* name) const override {
    static constexpr GuardRanges kFinite{sizeof(GuardRanges), true};
    return std::string_view(name) == kGuardRanges ? &kFinite : nullptr;
  }
  ProtectionCost cost(const ProtectedSite& site) const override {
    return {static_cast<double>(element_count(site.shape)), 0};
  }
};

}  // namespace

const Component<Protection> kNanGuard{
    "nan_guard", "Makes NaN and Inf 0", {}, [](const Options&) -> Protection* {
      return new NanGuard;
    }};

}  // namespace bitfall_plugins
