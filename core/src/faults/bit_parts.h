// How the bits of a campaign's formats are divided into parts, whose faults are drawn by
// themselves.
#pragma once

#include <span>
#include <vector>

#include "bitfall/number_format.h"
#include "config.h"

namespace bitfall {

/// Each bit is a part, but for those of a mantissa of more than eight bits: from its highest one,
/// two, four and so on go together, as the lower ones matter the less. Parts lie side by side from
/// bit 0, and suit the registers of all these formats.
std::vector<BitRange> bit_parts(std::span<const NumberFormat* const> formats);

/// "bit 30", "bits 0-7".
std::string to_string(const BitRange& bits);

}  // namespace bitfall
