// How the bits of a campaign's formats are divided into parts, whose faults are drawn by
// themselves.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bitfall/number_format.h"
#include "config.h"

namespace bitfall {

/// Of the payload. Each bit is a part, but for those of a mantissa in more than eight bits: behind
/// its two highest ones two, four and so on go together, as the lower ones matter the less. Parts
/// lie side by side from bit 0, and none lies in the payload of one of the formats and beyond it.
std::vector<BitRange> bit_parts(std::span<const NumberFormat* const> formats);

/// The same, with each bit that stands alone and is no bit of a long mantissa divided once more, by
/// what a fault of it finds.
std::vector<FaultPart> parts_by_values(std::span<const NumberFormat* const> formats);

/// "bit 30", "bits 0-7".
std::string to_string(const BitRange& bits);
/// "bit 30 = 0, +": of positive values, where the bit is 0.
std::string to_string(const FaultPart& part);

}  // namespace bitfall
