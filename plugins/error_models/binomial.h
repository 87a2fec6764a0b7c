// How many of n places are hit when each is hit with the same probability.
#pragma once

#include <cstdint>

#include "bitfall/random.h"

namespace bitfall {

/// One draw of the binomial distribution of n > 0 places and probability p in (0, 1]; of those
/// draws that are not 0 where `at_least_one`. Exact to the rounding of float64, also where n x p is
/// far below 1, and the same on every machine: it uses +, -, x and / alone. Takes time in
/// proportion to the distribution's standard deviation.
std::int64_t draw_binomial(RandomStream& random, std::int64_t n, double p, bool at_least_one);

}  // namespace bitfall
