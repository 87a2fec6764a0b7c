// logit_bound: the answer's logits are kept within what training images gave.
#include <cmath>

#include "bounds.h"
#include "protections.h"

namespace bitfall_plugins {
namespace {

using namespace bitfall;  // NOLINT(google-build-using-namespace)

constexpr OptionSpec kOptions[] = {
    {"scope", OptionType::kText, "layer", 0, 0, "layer|class",
     "What has bounds of its own: all logits, or each class."},
    {"margin", OptionType::kNumber, "1", 0, 1000, nullptr,
     "Factor on a negative lower and a positive upper bound."},
};

class LogitBound final : public BoundGuard {
 public:
  explicit LogitBound(const Options& options)
      : BoundGuard(options.text("scope") == "class" ? Scope::kNeuron : Scope::kLayer, 100,
                   options.number("margin")) {}

  bool wants(const ProtectedSite& site) const override { return site.operation == "answer"; }
  Verdict guard(const ProtectedSite& site, View<float> values, const Slice&,
                View<const float> state) const override {
    const Units units = this->units(site);
    Verdict verdict;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto unit = static_cast<std::size_t>(units.of(static_cast<std::int64_t>(i)));
      const float low = state[2 * unit], high = state[2 * unit + 1];
      if (values[i] >= low && values[i] <= high) continue;
      ++verdict.detected;
      ++verdict.corrected;
      // No class is told by NaN: it is the least likely one.
      values[i] = std::isnan(values[i]) || values[i] < low ? low : high;
    }
    return verdict;
  }
};

}  // namespace

const Component<Protection> kLogitBound{
    "logit_bound", "Keeps the answer's logits within the range of training images", kOptions,
    [](const Options& options) -> Protection* { return new LogitBound(options); }};

}  // namespace bitfall_plugins
