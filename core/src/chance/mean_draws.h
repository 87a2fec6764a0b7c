// Draws for estimate_mean() and concentration() of more trials than one keeps in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mean_estimate.h"
#include "value_counts.h"

namespace bitfall {

/// The most draws that are resampled one by one; beyond, as many groups of them are: that the mean
/// of many draws varies alike is what the bootstrap rests on, and the time no longer grows.
inline constexpr std::size_t kMostSeparateDraws = 2048;

/// Puts draw `number`, counted from 0, to those before it, in groups where they are more than
/// kMostSeparateDraws: estimate_mean() says the same of these as of all.
void add_draw(std::vector<MeanUnit>& draws, std::int64_t number, const MeanUnit& draw);

/// concentration() of what draws contribute that is not 0, in rising order, with its sum and that
/// of its squares.
Concentration concentration_of(double sum, double squared, std::span<const Counted> parts);

}  // namespace bitfall
