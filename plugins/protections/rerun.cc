// rerun: an answer that is not sure is computed once more, which clears a transient fault (FILR's
// check, Mahmoud et al., ISSRE 2021: Top2Diff).
#include <algorithm>
#include <cmath>
#include <limits>

#include "protections.h"

namespace bitfall_plugins {
namespace {

using namespace bitfall;  // NOLINT(google-build-using-namespace)

constexpr OptionSpec kOptions[] = {
    {"threshold", OptionType::kNumber, "0.2", 0, 1, nullptr,
     "Least gap between the probabilities of the two most likely classes that an answer is trusted "
     "with."},
};

/// Softmax probability of the most likely class minus the second's; NaN without a finite answer.
double top2diff(View<const float> logits) {
  double first = -std::numeric_limits<double>::infinity(), second = first;
  for (const float logit : logits) {
    if (std::isnan(logit)) return std::numeric_limits<double>::quiet_NaN();
    second = std::max(second, std::min<double>(first, logit));
    first = std::max<double>(first, logit);
  }
  if (!std::isfinite(first)) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - first);
  return (1 - std::exp(second - first)) / sum;
}

class Rerun final : public Protection {
 public:
  explicit Rerun(const Options& options) : threshold_(options.number("threshold")) {}

  bool wants(const ProtectedSite& site) const override { return site.operation == "answer"; }
  int passes() const override { return 0; }
  Verdict guard(const ProtectedSite&, View<float> values, const Slice&,
                View<const float>) const override {
    Verdict verdict;
    verdict.again = !(top2diff(values) >= threshold_);
    return verdict;
  }
  ProtectionCost cost(const ProtectedSite& site) const override {
    return {3.0 * static_cast<double>(element_count(site.shape)), 0};
  }

 private:
  double threshold_;
};

}  // namespace

const Component<Protection> kRerun{
    "rerun", "Computes an answer whose two most likely classes are close once more", kOptions,
    [](const Options& options) -> Protection* { return new Rerun(options); }};

}  // namespace bitfall_plugins
