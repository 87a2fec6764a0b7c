#include "jpeg_decoder.h"

#include <jpeglib.h>  // after <cstdio>, which it needs

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>

#include "bad_input.h"
#include "long_jump.h"

namespace bitfall {
namespace {

static_assert(sizeof(LongJump::message) >= JMSG_LENGTH_MAX);

struct JpegContext {
  LongJump jump;
  jpeg_error_mgr errors;
  jpeg_source_mgr source;
  jpeg_decompress_struct decoder;
  std::uint8_t* pixels;
  std::size_t stride;
  bool truncated;
};

void jpeg_fail(j_common_ptr decoder) {
  auto& context = *static_cast<JpegContext*>(decoder->client_data);
  decoder->err->format_message(decoder, context.jump.message);
  std::longjmp(context.jump.place, 1);
}

void jpeg_keep_silent(j_common_ptr) {}
void jpeg_no_action(j_decompress_ptr) {}

/// The whole file is in the buffer: wanting more means that it is truncated. libjpeg then returns
/// "suspended".
boolean jpeg_no_more_input(j_decompress_ptr) { return FALSE; }

void jpeg_skip_input(j_decompress_ptr decoder, long count) {
  if (count <= 0) return;
  const std::size_t step = std::min(static_cast<std::size_t>(count), decoder->src->bytes_in_buffer);
  decoder->src->next_input_byte += step;
  decoder->src->bytes_in_buffer -= step;
}

void jpeg_header_step(JpegContext& context) {
  jpeg_create_decompress(&context.decoder);
  context.decoder.src = &context.source;
  int status = JPEG_HEADER_TABLES_ONLY;
  while (status == JPEG_HEADER_TABLES_ONLY) status = jpeg_read_header(&context.decoder, FALSE);
  context.truncated = status == JPEG_SUSPENDED;
}

void jpeg_pixel_step(JpegContext& context) {
  jpeg_decompress_struct& decoder = context.decoder;
  context.truncated = true;  // until the last row is out
  if (!jpeg_start_decompress(&decoder)) return;
  while (decoder.output_scanline < decoder.output_height) {
    JSAMPROW row = context.pixels + decoder.output_scanline * context.stride;
    if (jpeg_read_scanlines(&decoder, &row, 1) != 1) return;
  }
  context.truncated = false;
  jpeg_finish_decompress(&decoder);  // a missing end marker is forgiven, as by Pillow
}

/// The default settings are Pillow's: the slow integer DCT and "fancy" chroma upsampling.
class JpegReader {
 public:
  explicit JpegReader(std::span<const std::uint8_t> file) : size_(file.size()) {
    context_.decoder.err = jpeg_std_error(&context_.errors);
    context_.decoder.client_data = &context_;
    context_.errors.error_exit = jpeg_fail;
    context_.errors.output_message = jpeg_keep_silent;
    context_.source.init_source = jpeg_no_action;
    context_.source.fill_input_buffer = jpeg_no_more_input;
    context_.source.skip_input_data = jpeg_skip_input;
    context_.source.resync_to_restart = jpeg_resync_to_restart;
    context_.source.term_source = jpeg_no_action;
    context_.source.next_input_byte = file.data();
    context_.source.bytes_in_buffer = file.size();
  }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;
  ~JpegReader() { jpeg_destroy_decompress(&context_.decoder); }

  /// Decodes into grey, RGB or CMYK samples: whichever the file holds.
  Image read() {
    run(jpeg_header_step);
    jpeg_decompress_struct& decoder = context_.decoder;
    const int channels = decoder.num_components;
    if (channels != 1 && channels != 3 && channels != 4) {
      fail("JPEGs with " + std::to_string(channels) + " components are not supported");
    }
    decoder.out_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
    // A Huffman code has a bit at least, and each block of 64 pixels a code.
    check_image_data("JPEG", decoder.image_width, decoder.image_height,
                     decoder.arith_code ? 0 : 1.0 / 64, size_);
    Image image = blank_image(decoder.image_width, decoder.image_height, channels);
    context_.pixels = image.pixels.data();
    context_.stride = static_cast<std::size_t>(image.width) * static_cast<std::size_t>(channels);
    run(jpeg_pixel_step);
    return image;
  }

 private:
  void run(void (*step)(JpegContext&)) {
    if (!runs_through(context_, step)) fail("broken JPEG: " + std::string(context_.jump.message));
    if (context_.truncated) fail("the JPEG is truncated");
  }

  std::size_t size_;
  JpegContext context_{};
};

/// Pillow's conversion of Adobe's inverted CMYK, without colour management.
void cmyk_to_rgb(const std::uint8_t* inverted, std::uint8_t* rgb) {
  const int light = inverted[3];  // 255 - K
  for (int c = 0; c < 3; ++c) {
    const int product = (255 - inverted[c]) * light + 128;
    rgb[c] =
        static_cast<std::uint8_t>(std::clamp(light - (((product >> 8) + product) >> 8), 0, 255));
  }
}

}  // namespace

Image decode_jpeg(std::span<const std::uint8_t> file, int channels) {
  Image image = JpegReader(file).read();
  if (image.channels != 4) return with_channels(std::move(image), channels);
  Image result = blank_image(static_cast<std::uint64_t>(image.width),
                             static_cast<std::uint64_t>(image.height), channels);
  const std::uint8_t* in = image.pixels.data();
  std::uint8_t* out = result.pixels.data();
  for (; out != result.pixels.data() + result.pixels.size(); in += 4, out += channels) {
    std::uint8_t rgb[3];
    cmyk_to_rgb(in, rgb);
    store_pixel(rgb, channels, out);
  }
  return result;
}

}  // namespace bitfall
