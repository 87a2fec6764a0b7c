#pragma once

#include <cstdint>
#include <span>

#include "image.h"

namespace bitfall {

/// A Windows or OS/2 bitmap without compression as Pillow's convert("RGB") shows it, or
/// convert("L") with 1 channel. Throws Error(kInput), without a path.
Image decode_bmp(std::span<const std::uint8_t> file, int channels);

}  // namespace bitfall
