#include "png_decoder.h"

#include <png.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "bad_input.h"
#include "long_jump.h"

namespace bitfall {
namespace {

struct PngContext {
  LongJump jump;
  png_structp png;
  png_infop info;
  const std::uint8_t* data;
  std::size_t size;
  std::size_t position;
  bool truncated;
  png_uint_32 width, height;
  int depth, colour, passes;
  std::size_t stride;      // bytes per row, at least one per sample
  png_color palette[256];  // black beyond the file's entries
  std::uint8_t* pixels;
};

void png_fail(png_structp png, png_const_charp message) {
  auto& context = *static_cast<PngContext*>(png_get_error_ptr(png));
  std::snprintf(context.jump.message, sizeof context.jump.message, "%s", message);
  std::longjmp(context.jump.place, 1);
}

void png_keep_silent(png_structp, png_const_charp) {}

void png_take(png_structp png, png_bytep out, std::size_t count) {
  auto& context = *static_cast<PngContext*>(png_get_io_ptr(png));
  if (count > context.size - context.position) {
    context.truncated = true;
    png_error(png, "end of file");
  }
  std::memcpy(out, context.data + context.position, count);
  context.position += count;
}

void png_header_step(PngContext& context) {
  context.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &context, png_fail, png_keep_silent);
  if (!context.png) return;
  context.info = png_create_info_struct(context.png);
  if (!context.info) return;
  png_set_read_fn(context.png, &context, png_take);
  // Pixels do not depend on ancillary chunks, so those are passed over, and only their checksums
  // matter.
  png_set_keep_unknown_chunks(context.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_set_crc_action(context.png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
  png_set_user_limits(context.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_size decides
  png_read_info(context.png, context.info);
  png_get_IHDR(context.png, context.info, &context.width, &context.height, &context.depth,
               &context.colour, nullptr, nullptr, nullptr);
  png_colorp palette = nullptr;
  int entries = 0;
  if (png_get_PLTE(context.png, context.info, &palette, &entries)) {
    std::memcpy(context.palette, palette, static_cast<std::size_t>(entries) * sizeof *palette);
  }
}

// Apart from the header, which may claim any size: rows are allocated here.
void png_row_step(PngContext& context) {
  png_set_packing(context.png);
  context.passes = png_set_interlace_handling(context.png);
  png_read_update_info(context.png, context.info);
  context.stride = png_get_rowbytes(context.png, context.info);
}

void png_pixel_step(PngContext& context) {
  // From here on Pillow looks at no checksum: what is damaged shows in the compressed data.
  png_set_crc_action(context.png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
  for (int pass = 0; pass < context.passes; ++pass) {
    for (png_uint_32 y = 0; y < context.height; ++y) {
      png_read_row(context.png, context.pixels + y * context.stride, nullptr);
    }
  }
}

class PngReader {
 public:
  explicit PngReader(std::span<const std::uint8_t> file) {
    context_.data = file.data();
    context_.size = file.size();
  }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&context_.png, &context_.info, nullptr); }

  Image read(int channels) {
    run(png_header_step);
    if (!context_.info) throw std::bad_alloc();
    constexpr double kDeflate = 1032;  // what it shrinks the same byte again and again to
    const int bits = png_get_channels(context_.png, context_.info) * context_.depth;
    check_image_data("PNG", context_.width, context_.height, bits / kDeflate, context_.size);
    run(png_row_step);
    std::vector<std::uint8_t> samples(context_.stride * context_.height);
    context_.pixels = samples.data();
    run(png_pixel_step);
    const std::size_t sample_bytes = context_.depth == 16 ? 2 : 1;
    const std::size_t pixel_bytes = png_get_channels(context_.png, context_.info) * sample_bytes;
    Image image = blank_image(context_.width, context_.height, channels);
    std::uint8_t* out = image.pixels.data();
    for (png_uint_32 y = 0; y < context_.height; ++y) {
      const std::uint8_t* in = samples.data() + y * context_.stride;
      for (png_uint_32 x = 0; x < context_.width; ++x, in += pixel_bytes, out += channels) {
        std::uint8_t rgb[3];
        colour(in, rgb);
        store_pixel(rgb, channels, out);
      }
    }
    return image;
  }

 private:
  void run(void (*step)(PngContext&)) {
    if (runs_through(context_, step)) return;
    if (context_.truncated) fail("the PNG is truncated");
    fail("broken PNG: " + std::string(context_.jump.message));
  }

  /// One pixel as Pillow shows it: alpha dropped, 16-bit colour cut to its high byte, 16-bit grey
  /// clipped at 255.
  void colour(const std::uint8_t* sample, std::uint8_t* rgb) const {
    const std::size_t step = context_.depth == 16 ? 2 : 1;
    switch (context_.colour) {
      case PNG_COLOR_TYPE_PALETTE: {
        const png_color& entry = context_.palette[*sample];
        rgb[0] = entry.red, rgb[1] = entry.green, rgb[2] = entry.blue;
        break;
      }
      case PNG_COLOR_TYPE_GRAY:
        std::fill_n(rgb, 3, grey_level(sample));
        break;
      case PNG_COLOR_TYPE_GRAY_ALPHA:
        std::fill_n(rgb, 3, sample[0]);
        break;
      default:
        for (std::size_t c = 0; c < 3; ++c) rgb[c] = sample[c * step];
    }
  }

  std::uint8_t grey_level(const std::uint8_t* sample) const {
    if (context_.depth == 16) return sample[0] ? 255 : sample[1];
    return static_cast<std::uint8_t>(*sample * (255 / ((1 << context_.depth) - 1)));
  }

  PngContext context_{};
};

}  // namespace

Image decode_png(std::span<const std::uint8_t> file, int channels) {
  return PngReader(file).read(channels);
}

}  // namespace bitfall
