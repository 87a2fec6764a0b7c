// JPEGs as Pillow decodes them.
#pragma once

#include <cstdint>
#include <span>

#include "image.h"

namespace bitfall {

/// `file`: the whole of it. channels: 1 or 3. Throws Error(kInput), a clause without the path.
Image decode_jpeg(std::span<const std::uint8_t> file, int channels);

}  // namespace bitfall
