// One column of a metric over a group of trials.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "statistics.h"
#include "store.h"

namespace bitfall {

/// Of an event the share of all trials; of a quantity the mean over the trials that have a finite
/// one. Trials without an answer have neither: they count as trials without the event.
struct MetricSummary {
  std::string column, metric, unit;
  bool event = false;
  std::int64_t trials = 0;
  Proportion rate;  // of an event
  // Of a quantity:
  std::int64_t nonfinite = 0;  // NaN or Inf, though there is an answer
  std::int64_t missing = 0;    // no answer
  double mean = 0;             // NaN where no trial has a finite number, as the two below
  // Of the mean, by Student's t over faults. NaN for fewer than two, infinite for fewer than
  // kEqualDraws that are all equal.
  Interval interval;
  double maximum = 0;
};

/// Of fewer equal values nothing is known of how far others are.
inline constexpr std::int64_t kEqualDraws = 5;

class MetricTally {
 public:
  explicit MetricTally(const StoredColumn& column);

  /// `fault`: equal for the trials that share a permanent fault, which come one after the other.
  void add(std::int64_t fault, bool answered, double value);

  MetricSummary finish(double confidence) const;

 private:
  struct Sums {
    double total = 0, squared = 0, cross = 0, size_squared = 0;
    std::int64_t clusters = 0;
    void close(double sum, double size);
  };

  MetricSummary summary_;
  ClusterCount events_;
  std::int64_t finite_ = 0, fault_ = -1;
  double fault_sum_ = 0, fault_size_ = 0;  // of the current fault
  Sums sums_;                              // of all faults but the current one
};

/// "12.3 % [11.9, 12.7]", or "0.0412 [0.0380, 0.0444]".
std::string metric_text(const MetricSummary& metric, int decimals);

}  // namespace bitfall
