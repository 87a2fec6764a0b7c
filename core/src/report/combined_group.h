// A row of a table for several strata together that were drawn more or less often than others.
#pragma once

#include <span>

#include "report.h"

namespace bitfall {

struct WeightedGroup {
  double weight = 0;  // its share among the parts; they need not add up to 1
  const GroupSummary* group = nullptr;
};

/// Of a mean in one stratum: its own, that of a number where all of several trials are equal, and
/// open on both sides where one trial is all there is.
Interval known_interval(double mean, const Interval& own, std::int64_t trials);

/// Rates and means are the parts', weighted over those with trials (stratified_rate, weighted_sum);
/// outcomes and activated trials are weighted shares of the sum of trials; other counts are sums.
/// Median and p99 are NaN, `half` is 0: they need the trials. Name, operation and bits are left to
/// the caller.
GroupSummary combined(std::span<const WeightedGroup> parts, double confidence);

}  // namespace bitfall
