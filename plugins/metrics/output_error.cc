// output_error: how far the logits moved.
#include <algorithm>
#include <cmath>
#include <limits>

#include "metrics.h"

namespace bitfall {
namespace {

constexpr MetricColumn kColumns[] = {
    {"output_error_max", ColumnKind::kQuantity, "1",
     "Largest |golden - faulty| over the logits; NaN if one of the differences is NaN"},
    {"output_error_mean", ColumnKind::kQuantity, "1", "Mean |golden - faulty| over the logits"},
    {"nonfinite", ColumnKind::kEvent, "1", "A faulty logit is NaN or Inf"},
};

class OutputError final : public Metric {
 public:
  View<const MetricColumn> columns() const override { return kColumns; }

  void measure(const Observation& observation, View<double> values) const override {
    double maximum = 0;
    double sum = 0;
    bool nonfinite = false;
    for (std::size_t i = 0; i < observation.faulty_logits.size(); ++i) {
      const double golden = observation.golden_logits[i];
      const double faulty = observation.faulty_logits[i];
      const double error = std::fabs(golden - faulty);
      maximum = std::max(maximum, error);  // leaves a NaN out; the sum keeps it
      sum += error;
      nonfinite |= !std::isfinite(faulty);
    }
    values[0] = std::isnan(sum) ? std::numeric_limits<double>::quiet_NaN() : maximum;
    values[1] = sum / static_cast<double>(observation.faulty_logits.size());
    values[2] = nonfinite;
  }
};

}  // namespace

const Component<Metric> kOutputError{
    "output_error",
    "Largest and mean absolute logit difference, and whether a logit is NaN or Inf",
    {},
    [](const Options&) -> Metric* { return new OutputError; }};

}  // namespace bitfall
