// A row of a table for several strata together that were drawn more or less often than others.
#pragma once

#include <span>

#include "report.h"

namespace bitfall {

struct WeightedGroup {
  double weight = 0;  // its share among the parts; they need not add up to 1
  const GroupSummary* group = nullptr;
};

/// Rates and means are the parts', weighted over those with trials (stratified_rate, weighted_sum);
/// outcomes and activated trials are weighted shares of the sum of trials; other counts are sums.
/// Median and p99 are NaN, `half` is 0: they need the trials. One part alone is itself.
GroupSummary combined(std::span<const WeightedGroup> parts, double confidence);

}  // namespace bitfall
