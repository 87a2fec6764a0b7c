// A row of a table for several strata together that were drawn more or less often than others.
#pragma once

#include <limits>
#include <span>

#include "report.h"

namespace bitfall {

struct WeightedGroup {
  double weight = 0;  // its share among the parts; they need not add up to 1
  const GroupSummary* group = nullptr;
};

/// Of a mean change of the loss over so many draws, none above `most`: its own interval, 0 where
/// none of several changed it, and open where a single draw is all there is.
Interval known_loss(double mean, const Interval& own, std::int64_t draws,
                    double most = std::numeric_limits<double>::infinity());

struct Combination {
  double confidence = 0.99;
  double clip = std::numeric_limits<double>::infinity();  // nats: the most that a change counts as
  /// What the parts are: layers, of whose means the weighted mean is meant; else strata of one
  /// population, where a mean over trials with a finite value weighs each part by what share of its
  /// trials these are.
  bool layers = false;
};

/// Rates and means are the parts', weighted over those with trials (stratified_rate, weighted_sum);
/// rates by fault are joined by weighted_rate. Outcomes and activated trials are weighted shares of
/// the sum of trials; other counts are sums. Median and p99 are NaN, `half` is 0: they need the
/// trials. Name, operation and bits are left to the caller.
GroupSummary combined(std::span<const WeightedGroup> parts, const Combination& how);

}  // namespace bitfall
