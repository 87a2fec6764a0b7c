// Pillow's resampling.
#pragma once

#include "image.h"

namespace bitfall {

/// Pillow's Image.resize((width, height), BILINEAR), bit for bit: 8-bit, anti-aliased. The order of
/// the passes is Pillow 13's: horizontal first, as always before, but for strong shrinking of the
/// height alone. Throws Error(kInput) when the result, or the image between the passes, is over
/// kMaxImagePixels.
Image resize_bilinear(const Image& image, int width, int height);

}  // namespace bitfall
