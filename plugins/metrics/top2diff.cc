// top2diff: how sure the answer is, as the gap between the two likeliest classes.
#include <algorithm>
#include <cmath>
#include <limits>

#include "metrics.h"

namespace bitfall {
namespace {

constexpr MetricColumn kColumns[] = {
    {"top2diff_golden", ColumnKind::kQuantity, "probability",
     "Softmax probability of the most likely class minus the second's, without the fault"},
    {"top2diff_faulty", ColumnKind::kQuantity, "probability", "The same with the fault"},
    {"top2diff_change", ColumnKind::kQuantity, "probability", "Faulty minus golden"},
};

/// Softmax in float64, shifted by the largest logit so that it cannot overflow. NaN where it has no
/// value: a NaN or +Inf logit, all logits -Inf, fewer than two classes.
double top2diff(View<const float> logits) {
  constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();
  if (logits.size() < 2 || any_nan(logits)) return kUndefined;
  float first = -std::numeric_limits<float>::infinity();
  float second = first;
  for (const float logit : logits) {
    second = std::max(second, std::min(first, logit));
    first = std::max(first, logit);
  }
  if (!std::isfinite(first)) return kUndefined;
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - first);
  return -std::expm1(static_cast<double>(second) - first) / sum;
}

class Top2Diff final : public Metric {
 public:
  View<const MetricColumn> columns() const override { return kColumns; }

  void measure(const Observation& observation, View<double> values) const override {
    values[0] = top2diff(observation.golden_logits);
    values[1] = top2diff(observation.faulty_logits);
    values[2] = values[1] - values[0];
  }
};

}  // namespace

const Component<Metric> kTop2Diff{
    "top2diff",
    "Gap between the two most likely classes: golden, faulty and its change",
    {},
    [](const Options&) -> Metric* { return new Top2Diff; }};

}  // namespace bitfall
