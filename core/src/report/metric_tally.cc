#include "metric_tally.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "report_number.h"

namespace bitfall {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-12;  // of a sum of squares

}  // namespace

MetricTally::MetricTally(const StoredColumn& column) {
  summary_.column = column.name;
  summary_.metric = column.metric;
  summary_.unit = column.unit;
  summary_.event = column.kind == ColumnKind::kEvent;
  summary_.maximum = -kInfinite;
}

void MetricTally::Sums::close(double sum, double size) {
  if (size == 0) return;
  total += sum;
  squared += sum * sum;
  cross += sum * size;
  size_squared += size * size;
  ++clusters;
}

void MetricTally::add(std::int64_t fault, bool answered, double value) {
  ++summary_.trials;
  if (summary_.event) {
    events_.add(fault, answered && value == 1);
    return;
  }
  if (!answered) {
    ++summary_.missing;
    return;
  }
  if (!std::isfinite(value)) {
    ++summary_.nonfinite;
    return;
  }
  ++finite_;
  summary_.maximum = std::max(summary_.maximum, value);
  if (fault != fault_) {
    sums_.close(fault_sum_, fault_size_);
    fault_ = fault;
    fault_sum_ = fault_size_ = 0;
  }
  fault_sum_ += value;
  fault_size_ += 1;
}

// Of the mean the variance between faults (Cochran, Sampling Techniques, 3rd ed., section 9.7:
// ratio to size); where each trial has a fault of its own, that of independent trials. Student's t
// with a degree of freedom less than there are faults.
MetricSummary MetricTally::finish(double confidence) const {
  MetricSummary summary = summary_;
  if (summary.event) {
    summary.rate = events_.proportion(confidence);
    return summary;
  }
  summary.interval = {kNan, kNan};
  if (finite_ == 0) {
    summary.mean = summary.maximum = kNan;
    return summary;
  }
  Sums sums = sums_;
  sums.close(fault_sum_, fault_size_);
  const auto n = static_cast<double>(finite_), clusters = static_cast<double>(sums.clusters);
  summary.mean = sums.total / n;
  if (sums.clusters < 2) return summary;
  const double spread = sums.squared - 2 * summary.mean * sums.cross +
                        summary.mean * summary.mean * sums.size_squared;
  const bool equal = spread <= kRounding * sums.squared;
  if (equal && sums.clusters < kEqualDraws) {
    summary.interval = {-kInfinite, kInfinite};
    return summary;
  }
  const double variance = equal ? 0 : spread / (n * n) * clusters / (clusters - 1);
  const double margin = student_quantile(confidence, clusters - 1) * std::sqrt(variance);
  summary.interval = {summary.mean - margin, summary.mean + margin};
  return summary;
}

std::string metric_text(const MetricSummary& metric, int decimals) {
  if (metric.event) return percent(metric.rate, decimals);
  std::string text = quantity(metric.mean);
  if (!std::isnan(metric.interval.low)) {
    text += " [" + quantity(metric.interval.low) + ", " + quantity(metric.interval.high) + "]";
  }
  return text;
}

}  // namespace bitfall
