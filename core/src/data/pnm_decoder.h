#pragma once

#include <cstdint>
#include <span>

#include "image.h"

namespace bitfall {

/// PBM, PGM and PPM, in bytes (P4 to P6) or in words (P1 to P3), as Pillow's convert("RGB") shows
/// them, or convert("L") with 1 channel. Throws Error(kInput), without a path.
Image decode_pnm(std::span<const std::uint8_t> file, int channels);

}  // namespace bitfall
