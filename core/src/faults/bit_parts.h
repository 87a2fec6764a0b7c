// How the bits of a campaign's formats are divided into parts, whose faults are drawn by
// themselves.
#pragma once

#include <span>
#include <vector>

#include "bitfall/number_format.h"
#include "config.h"

namespace bitfall {

/// Of the payload. Each bit is a part, but for those of a mantissa in more than eight bits: behind
/// its two highest ones two, four and so on go together, as the lower ones matter the less. Parts
/// lie side by side from bit 0, and none lies in the payload of one of the formats and beyond it.
std::vector<BitRange> bit_parts(std::span<const NumberFormat* const> formats);

/// "bit 30", "bits 0-7".
std::string to_string(const BitRange& bits);

}  // namespace bitfall
