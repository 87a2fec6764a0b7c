// Pillow's resampling.
#pragma once

#include "data_config.h"
#include "image.h"

namespace bitfall {

/// Pillow's Image.resize((width, height), interpolation), bit for bit: 8-bit, and all but nearest
/// anti-aliased. The order of the passes is Pillow 13's: horizontal first, as always before, but
/// for strong shrinking of the height alone. Throws Error(kInput) when the result, or the image
/// between the passes, is over kMaxImagePixels.
Image resize(const Image& image, int width, int height, Interpolation interpolation);

}  // namespace bitfall
