#include "png_writer.h"

#include <png.h>

#include "error.h"

namespace bitfall {

std::string png_bytes(const Image& image) {
  png_image png = {};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(image.width);
  png.height = static_cast<png_uint_32>(image.height);
  png.format = image.channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  const auto write = [&](void* memory, png_alloc_size_t& bytes) {
    if (png_image_write_to_memory(&png, memory, &bytes, 0, image.pixels.data(), 0, nullptr)) return;
    throw Error(ExitCode::kFailure, std::string("a picture cannot be made: ") + png.message);
  };
  png_alloc_size_t size = 0;
  write(nullptr, size);
  std::string bytes(size, '\0');
  write(bytes.data(), size);
  bytes.resize(size);
  return bytes;
}

}  // namespace bitfall
