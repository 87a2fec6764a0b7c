// Pictures as PNG files.
#pragma once

#include <string>

#include "image.h"

namespace bitfall {

/// The bytes of a PNG file with these 8-bit pixels, grey or RGB. Throws Error(kFailure) where
/// libpng cannot make one.
std::string png_bytes(const Image& image);

}  // namespace bitfall
