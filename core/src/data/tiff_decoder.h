#pragma once

#include <cstdint>
#include <span>

#include "image.h"

namespace bitfall {

/// The first image of a TIFF of whole numbers (grey, RGB, palette, JPEG), turned as its orientation
/// says, as Pillow's convert("RGB") shows it, or convert("L") with 1 channel. Throws Error(kInput),
/// without a path.
Image decode_tiff(std::span<const std::uint8_t> file, int channels);

}  // namespace bitfall
