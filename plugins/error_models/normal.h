// Normally distributed numbers that are the same on every machine.
#pragma once

#include "bitfall/random.h"

namespace bitfall {

/// The number that a standard normal variable stays below with this probability in (0, 1), to 1e-15
/// relative: Wichura's algorithm AS 241 (PPND16, Applied Statistics 37, 1988).
double normal_quantile(double probability);

/// One draw of the standard normal distribution by inversion, within +-8.2. Takes 64 bits of the
/// stream.
double draw_normal(RandomStream& random);

}  // namespace bitfall
