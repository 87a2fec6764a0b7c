// Images as Pillow decodes and resizes them: libjpeg-turbo and libpng with Pillow's settings and
// its conversions.
//
// Both libraries report failure by longjmp. Every call into them is therefore made by a "step": a
// function that holds nothing with a destructor and is run by `guarded`, which owns the setjmp.
// Memory is owned outside the steps.
#include "image.h"

#include <jpeglib.h>  // after <cstdio>, which it needs
#include <png.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string_view>
#include <system_error>

#include "error.h"

namespace bitfall {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct Guard {
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

/// False = the library jumped out of `step`; context.guard.message says why.
template <typename Context>
bool guarded(Context& context, void (*step)(Context&)) {
  if (setjmp(context.guard.jump) != 0) return false;
  step(context);
  return true;
}

[[noreturn]] void fail(const std::string& what) { throw Error(ExitCode::kInput, what); }

void check_size(std::uint64_t width, std::uint64_t height) {
  if (width == 0 || height == 0) fail("the image has no pixels");
  if (width > kMaxImagePixels / height) {
    fail("the image claims " + std::to_string(width) + " x " + std::to_string(height) +
         " pixels; the limit is " + std::to_string(kMaxImagePixels));
  }
}

/// ITU-R 601-2 luma in 16-bit fixed point, as Pillow's convert("L").
std::uint8_t luma(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >>
                                   16);
}

void store_pixel(const std::uint8_t* rgb, int channels, std::uint8_t* out) {
  if (channels == 1) {
    *out = luma(rgb);
  } else {
    std::copy_n(rgb, 3, out);
  }
}

Image blank(std::uint64_t width, std::uint64_t height, int channels) {
  check_size(width, height);
  Image image{static_cast<int>(width), static_cast<int>(height), channels, {}};
  image.pixels.resize(width * height * static_cast<std::uint64_t>(channels));
  return image;
}

// JPEG --------------------------------------------------------------------------------------------

struct JpegContext {
  Guard guard;
  jpeg_error_mgr errors;
  jpeg_source_mgr source;
  jpeg_decompress_struct decoder;
  std::uint8_t* pixels;
  std::size_t stride;
  bool truncated;
};

void jpeg_fail(j_common_ptr decoder) {
  auto& context = *static_cast<JpegContext*>(decoder->client_data);
  decoder->err->format_message(decoder, context.guard.message);
  std::longjmp(context.guard.jump, 1);
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
  explicit JpegReader(const Bytes& file) {
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
    Image image = blank(decoder.image_width, decoder.image_height, channels);
    context_.pixels = image.pixels.data();
    context_.stride = static_cast<std::size_t>(image.width) * static_cast<std::size_t>(channels);
    run(jpeg_pixel_step);
    return image;
  }

 private:
  void run(void (*step)(JpegContext&)) {
    if (!guarded(context_, step)) fail("broken JPEG: " + std::string(context_.guard.message));
    if (context_.truncated) fail("the JPEG is truncated");
  }

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

Image decode_jpeg(const Bytes& file, int channels) {
  Image image = JpegReader(file).read();
  if (image.channels != 4) return with_channels(std::move(image), channels);
  Image result = blank(static_cast<std::uint64_t>(image.width),
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

// PNG ---------------------------------------------------------------------------------------------

struct PngContext {
  Guard guard;
  png_structp png;
  png_infop info;
  const std::uint8_t* data;
  std::size_t size;
  std::size_t position;
  bool truncated;
  png_uint_32 width, height;
  int depth, colour, passes;
  std::size_t stride;      // bytes a row, at least one a sample
  png_color palette[256];  // black beyond the file's entries
  std::uint8_t* pixels;
};

void png_fail(png_structp png, png_const_charp message) {
  auto& context = *static_cast<PngContext*>(png_get_error_ptr(png));
  std::snprintf(context.guard.message, sizeof context.guard.message, "%s", message);
  std::longjmp(context.guard.jump, 1);
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
  png_set_packing(context.png);
  context.passes = png_set_interlace_handling(context.png);
  png_read_update_info(context.png, context.info);
  context.stride = png_get_rowbytes(context.png, context.info);
}

void png_pixel_step(PngContext& context) {
  for (int pass = 0; pass < context.passes; ++pass) {
    for (png_uint_32 y = 0; y < context.height; ++y) {
      png_read_row(context.png, context.pixels + y * context.stride, nullptr);
    }
  }
}

class PngReader {
 public:
  explicit PngReader(const Bytes& file) {
    context_.data = file.data();
    context_.size = file.size();
  }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&context_.png, &context_.info, nullptr); }

  Image read(int channels) {
    run(png_header_step);
    if (!context_.info) throw std::bad_alloc();
    check_size(context_.width, context_.height);
    Bytes samples(context_.stride * context_.height);
    context_.pixels = samples.data();
    run(png_pixel_step);
    const std::size_t sample_bytes = context_.depth == 16 ? 2 : 1;
    const std::size_t pixel_bytes = png_get_channels(context_.png, context_.info) * sample_bytes;
    Image image = blank(context_.width, context_.height, channels);
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
    if (guarded(context_, step)) return;
    if (context_.truncated) fail("the PNG is truncated");
    fail("broken PNG: " + std::string(context_.guard.message));
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

// Files -------------------------------------------------------------------------------------------

Bytes read_file(const std::filesystem::path& path) {
  std::error_code status;
  const auto type = std::filesystem::status(path, status).type();
  if (type == std::filesystem::file_type::not_found) fail("there is no such file");
  if (status) fail("cannot be read: " + status.message());
  if (type != std::filesystem::file_type::regular) fail("is not a regular file");
  std::ifstream stream(path, std::ios::binary | std::ios::ate);
  if (!stream) fail("cannot be read: " + std::generic_category().message(errno));
  Bytes bytes(static_cast<std::size_t>(stream.tellg()));
  stream.seekg(0);
  if (!stream.read(reinterpret_cast<char*>(bytes.data()),
                   static_cast<std::streamsize>(bytes.size()))) {
    fail("cannot be read to its end");
  }
  if (bytes.empty()) fail("the file is empty");
  return bytes;
}

bool starts_with(const Bytes& file, std::string_view magic) {
  return file.size() >= magic.size() && std::memcmp(file.data(), magic.data(), magic.size()) == 0;
}

std::string other_format(const Bytes& file) {
  if (starts_with(file, "GIF8")) return " (it is a GIF)";
  if (starts_with(file, "BM")) return " (it may be a BMP)";
  if (starts_with(file, "RIFF")) return " (it may be a WebP)";
  if (starts_with(file, "II*") || starts_with(file, "MM")) return " (it may be a TIFF)";
  return "";
}

// Resampling --------------------------------------------------------------------------------------

constexpr int kPrecisionBits = 32 - 8 - 2;  // Pillow's fixed point: 8 bits of result, 2 to spare

/// Which inputs make each output along one axis: output i = sum of weights[i * taps + k] *
/// input[first[i] + k].
struct Taps {
  int taps = 0;
  std::vector<int> first;
  std::vector<int> count;
  std::vector<std::int32_t> weights;
};

/// The triangle filter, widened by the scale when shrinking. Every operation is in the order of
/// Pillow's precompute_coeffs, since weights must round alike: hence the casts of x + 0.5.
// NOLINTBEGIN(bugprone-incorrect-roundings)
Taps bilinear_taps(int input, int output) {
  const double scale = static_cast<double>(input) / output;
  const double support = std::max(scale, 1.0);
  Taps taps;
  taps.taps = static_cast<int>(std::ceil(support)) * 2 + 1;
  taps.first.resize(static_cast<std::size_t>(output));
  taps.count.resize(static_cast<std::size_t>(output));
  taps.weights.resize(static_cast<std::size_t>(output) * static_cast<std::size_t>(taps.taps));
  std::vector<double> exact(static_cast<std::size_t>(taps.taps));
  for (std::size_t i = 0; i < taps.first.size(); ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int count = std::min(static_cast<int>(centre + support + 0.5), input) - first;
    double sum = 0;
    for (int k = 0; k < count; ++k) {
      const double distance = std::abs((k + first - centre + 0.5) * (1.0 / support));
      exact[static_cast<std::size_t>(k)] = distance < 1.0 ? 1.0 - distance : 0.0;
      sum += exact[static_cast<std::size_t>(k)];
    }
    std::int32_t* weights = &taps.weights[i * static_cast<std::size_t>(taps.taps)];
    for (int k = 0; k < count; ++k) {
      double weight = exact[static_cast<std::size_t>(k)];
      if (sum != 0.0) weight /= sum;
      weights[k] = static_cast<std::int32_t>(0.5 + weight * (1 << kPrecisionBits));
    }
    taps.first[i] = first;
    taps.count[i] = count;
  }
  return taps;
}
// NOLINTEND(bugprone-incorrect-roundings)

std::uint8_t round_to_byte(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

template <int kChannels>
void resize_row(const std::uint8_t* in, const Taps& taps, std::uint8_t* out) {
  for (std::size_t x = 0; x < taps.first.size(); ++x) {
    const std::int32_t* weights = &taps.weights[x * static_cast<std::size_t>(taps.taps)];
    const std::uint8_t* source = in + static_cast<std::ptrdiff_t>(taps.first[x]) * kChannels;
    std::int32_t sums[kChannels];
    std::fill_n(sums, kChannels, 1 << (kPrecisionBits - 1));
    for (int k = 0; k < taps.count[x]; ++k) {
      for (int c = 0; c < kChannels; ++c) sums[c] += source[k * kChannels + c] * weights[k];
    }
    for (int c = 0; c < kChannels; ++c) *out++ = round_to_byte(sums[c]);
  }
}

std::size_t row_bytes(const Image& image) {
  return static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.channels);
}

Image resize_width(const Image& image, int width) {
  if (width == image.width) return image;
  const Taps taps = bilinear_taps(image.width, width);
  Image result = blank(static_cast<std::uint64_t>(width), static_cast<std::uint64_t>(image.height),
                       image.channels);
  for (std::size_t y = 0; y < static_cast<std::size_t>(image.height); ++y) {
    const std::uint8_t* in = image.pixels.data() + y * row_bytes(image);
    std::uint8_t* out = result.pixels.data() + y * row_bytes(result);
    if (image.channels == 1) {
      resize_row<1>(in, taps, out);
    } else {
      resize_row<3>(in, taps, out);
    }
  }
  return result;
}

Image resize_height(const Image& image, int height) {
  if (height == image.height) return image;
  const Taps taps = bilinear_taps(image.height, height);
  Image result = blank(static_cast<std::uint64_t>(image.width), static_cast<std::uint64_t>(height),
                       image.channels);
  const std::size_t stride = row_bytes(image);
  std::vector<std::int32_t> sums(stride);
  for (std::size_t y = 0; y < taps.first.size(); ++y) {
    std::fill(sums.begin(), sums.end(), 1 << (kPrecisionBits - 1));
    for (int k = 0; k < taps.count[y]; ++k) {
      const std::uint8_t* in =
          image.pixels.data() + static_cast<std::size_t>(taps.first[y] + k) * stride;
      const std::int32_t weight =
          taps.weights[y * static_cast<std::size_t>(taps.taps) + static_cast<std::size_t>(k)];
      for (std::size_t i = 0; i < stride; ++i) sums[i] += in[i] * weight;
    }
    std::transform(sums.begin(), sums.end(), result.pixels.data() + y * stride, round_to_byte);
  }
  return result;
}

/// Pillow 13 begins with the height where that loses over twice as many rows as the width loses
/// columns; earlier releases never did. Each pass rounds to 8 bits, so the order shows in the last
/// bit. Of images resized by one factor it concerns those over twice as tall as wide.
bool height_goes_first(const Image& image, int width, int height) {
  return height < image.height &&
         std::int64_t{image.height} - height > 2 * (std::int64_t{image.width} - width);
}

/// Where a crop begins: negative where the image is smaller and gets padded. Python's round: halves
/// go to even.
int crop_start(int size, int crop) {
  if (crop > size) return -((crop - size) / 2);
  const int half = (size - crop) / 2;
  return (size - crop) % 2 == 0 ? half : half + half % 2;
}

}  // namespace

Image decode_image(const std::filesystem::path& path, bool grey) {
  try {
    const Bytes file = read_file(path);
    const int channels = grey ? 1 : 3;
    if (starts_with(file, "\xff\xd8\xff")) return decode_jpeg(file, channels);
    if (starts_with(file, "\x89PNG\r\n\x1a\n")) return PngReader(file).read(channels);
    fail("is neither a JPEG nor a PNG image" + other_format(file));
  } catch (const Error& error) {
    throw Error(error.code(), path.string() + ": " + error.what());
  }
}

Image with_channels(Image image, int channels) {
  if (image.channels == channels) return image;
  Image result = blank(static_cast<std::uint64_t>(image.width),
                       static_cast<std::uint64_t>(image.height), channels);
  const std::uint8_t* in = image.pixels.data();
  for (std::uint8_t* out = result.pixels.data(); out != result.pixels.data() + result.pixels.size();
       out += channels, in += image.channels) {
    if (channels == 1) {
      *out = luma(in);
    } else {
      std::fill_n(out, 3, *in);
    }
  }
  return result;
}

Image resize_bilinear(const Image& image, int width, int height) {
  if (width < 1 || height < 1) fail("an image cannot be resized to nothing");
  if (height_goes_first(image, width, height)) {
    return resize_width(resize_height(image, height), width);
  }
  return resize_height(resize_width(image, width), height);
}

Image centre_crop(const Image& image, int height, int width) {
  if (width < 1 || height < 1) fail("an image cannot be cropped to nothing");
  const int top = crop_start(image.height, height);
  const int left = crop_start(image.width, width);
  Image result =
      blank(static_cast<std::uint64_t>(width), static_cast<std::uint64_t>(height), image.channels);
  const int first_x = std::max(left, 0);
  const int last_x = std::min(left + width, image.width);
  for (int y = std::max(top, 0); y < std::min(top + height, image.height); ++y) {
    const auto in =
        image.pixels.begin() + static_cast<std::ptrdiff_t>(y) * image.width * image.channels;
    const auto out =
        result.pixels.begin() + static_cast<std::ptrdiff_t>(y - top) * width * image.channels;
    std::copy(in + static_cast<std::ptrdiff_t>(first_x) * image.channels,
              in + static_cast<std::ptrdiff_t>(last_x) * image.channels,
              out + static_cast<std::ptrdiff_t>(first_x - left) * image.channels);
  }
  return result;
}

}  // namespace bitfall
