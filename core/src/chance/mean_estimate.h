// The mean of a heavy-tailed quantity: what a few draws make of it, and between which ends it lies.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include "statistics.h"

namespace bitfall {

/// One independent draw, a fault: the sum of the quantity over its trials and the number of these.
struct MeanUnit {
  double sum = 0;
  double size = 1;  // 0 where none of its trials has a number
};

struct MeanEstimate {
  double mean = 0;  // sum of sums / sum of sizes; NaN where there is nothing to average
  /// Bootstrap-t (Efron and Tibshirani, chapter 12.5): the ends are mean - t x standard error, t
  /// the quantiles of the studentised resamples. Of a quantity that is never negative the lower end
  /// is at least 0, and the upper end at most its largest value. The upper end is infinite where
  /// the sample is too thin to say. Of n equal draws other values are as rare as events of which n
  /// draws have shown none (Clopper and Pearson), and may be any. Both ends are NaN for fewer than
  /// two draws or where all are 0.
  Interval interval;
};

/// `stream` numbers the resamples. Beyond 2048 draws groups of them are resampled. most: the
/// largest value that the quantity can have.
MeanEstimate estimate_mean(std::span<const MeanUnit> units, double confidence, std::uint64_t stream,
                           double most = std::numeric_limits<double>::infinity());

/// How few draws carry a mean.
struct Concentration {
  /// (sum of d)^2 / sum of d^2 (Kish): as many equal draws would make a mean as steady. 0 of none.
  double effective = 0;
  std::int64_t half = 0;  // the fewest draws that make half of the sum
};
Concentration concentration(std::span<const MeanUnit> units);

/// Under so many effective draws an interval of the mean is not to be relied on.
inline constexpr double kReliableDraws = 40;

}  // namespace bitfall
