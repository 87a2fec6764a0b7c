#pragma once

#include <cstdint>
#include <span>

#include "image.h"

namespace bitfall {

/// A WebP, or the first frame of an animated one, as Pillow's convert("RGB") shows it, or
/// convert("L") with 1 channel. Throws Error(kInput), without a path.
Image decode_webp(std::span<const std::uint8_t> file, int channels);

}  // namespace bitfall
