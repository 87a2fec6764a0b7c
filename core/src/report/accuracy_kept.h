// How much of the accuracy is left where an answer counts only with a margin (Figure 4 of the
// text-guided head's paper).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "outcome.h"
#include "statistics.h"

namespace bitfall {

/// Of all images those that are right with top2diff at or above the threshold.
struct AccuracyKept {
  double threshold = 0;  // of top2diff, 0 to 0.40
  Proportion kept;
};

/// Thresholds 0, 0.01, ..., 0.40. `labels` by image. An answer whose top2diff is NaN is right with
/// no margin at all: it counts at no threshold above 0.
std::vector<AccuracyKept> accuracy_kept(std::span<const GoldenResult> golden,
                                        std::span<const std::int32_t> labels, double confidence);

/// Of a curve the points that a table shows: 0, 0.05, 0.10, 0.15, 0.20, 0.30, 0.40.
std::vector<AccuracyKept> shown_thresholds(std::span<const AccuracyKept> curve);

}  // namespace bitfall
