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
    {"margin", OptionType::kNumber, "1", 0, 1000, nullptr, "Factor on both bounds."},
};

class LogitBound final : public Protection {
 public:
  explicit LogitBound(const Options& options)
      : scope_(options.text("scope") == "class" ? Scope::kNeuron : Scope::kLayer),
        bounds_(scope_, 100),
        margin_(options.number("margin")) {}

  bool wants(const ProtectedSite& site) const override { return site.operation == "answer"; }
  std::int64_t scratch_size(const ProtectedSite& site) const override {
    return bounds_.scratch_size(site);
  }
  void learn(const ProtectedSite& site, int pass, View<const float> values,
             View<double> scratch) const override {
    bounds_.learn(site, pass, values, scratch);
  }
  std::int64_t state_size(const ProtectedSite& site) const override {
    return bounds_.state_size(site);
  }
  void finish(const ProtectedSite& site, View<const double> scratch,
              View<float> state) const override {
    bounds_.finish(site, scratch, state);
    for (float& bound : state) bound = static_cast<float>(bound * margin_);
  }
  Verdict guard(const ProtectedSite& site, View<float> values, const Slice&,
                View<const float> state) const override {
    const Units units(site, scope_);
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
  ProtectionCost cost(const ProtectedSite& site) const override {
    return {2.0 * static_cast<double>(element_count(site.shape)), 32 * state_size(site)};
  }

 private:
  Scope scope_;
  Bounds bounds_;
  double margin_;
};

}  // namespace

const Component<Protection> kLogitBound{
    "logit_bound", "Keeps the answer's logits within the range of training images", kOptions,
    [](const Options& options) -> Protection* { return new LogitBound(options); }};

}  // namespace bitfall_plugins
