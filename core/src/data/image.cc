#include "image.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>
#include <system_error>

#include "bad_input.h"
#include "bmp_decoder.h"
#include "error.h"
#include "jpeg_decoder.h"
#include "png_decoder.h"
#include "pnm_decoder.h"
#include "tiff_decoder.h"
#include "webp_decoder.h"

namespace bitfall {
namespace {

/// ITU-R 601-2 luma in 16-bit fixed point, as Pillow's convert("L").
std::uint8_t luma(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >>
                                   16);
}

std::vector<std::uint8_t> read_file(const std::filesystem::path& path) {
  std::error_code status;
  const auto type = std::filesystem::status(path, status).type();
  if (type == std::filesystem::file_type::not_found) fail("there is no such file");
  if (status) fail("cannot be read: " + status.message());
  if (type != std::filesystem::file_type::regular) fail("is not a regular file");
  std::ifstream stream(path, std::ios::binary | std::ios::ate);
  if (!stream) fail("cannot be read: " + std::generic_category().message(errno));
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(stream.tellg()));
  stream.seekg(0);
  if (!stream.read(reinterpret_cast<char*>(bytes.data()),
                   static_cast<std::streamsize>(bytes.size()))) {
    fail("cannot be read to its end");
  }
  if (bytes.empty()) fail("the file is empty");
  return bytes;
}

bool starts_with(std::span<const std::uint8_t> file, std::string_view magic) {
  return file.size() >= magic.size() && std::memcmp(file.data(), magic.data(), magic.size()) == 0;
}

bool has_at(std::span<const std::uint8_t> file, std::size_t place, std::string_view magic) {
  return file.size() >= place && starts_with(file.subspan(place), magic);
}

constexpr std::string_view kJpeg = "\xff\xd8\xff";
constexpr std::string_view kPng = "\x89PNG\r\n\x1a\n";

bool is_pnm(std::span<const std::uint8_t> file) {
  return file.size() > 2 && file[0] == 'P' && file[1] >= '1' && file[1] <= '6' &&
         (file[2] == ' ' || (file[2] >= '\t' && file[2] <= '\r'));
}

bool is_webp(std::span<const std::uint8_t> file) {
  return starts_with(file, "RIFF") && has_at(file, 8, "WEBP");
}

using namespace std::string_view_literals;

/// TIFF and BigTIFF, of either order of bytes.
bool is_tiff(std::span<const std::uint8_t> file) {
  return starts_with(file, "II*\0"sv) || starts_with(file, "MM\0*"sv) ||
         starts_with(file, "II+\0"sv) || starts_with(file, "MM\0+"sv);
}

/// A file's kind by its content, where it is none that is decoded; "" where it is unknown.
std::string_view other_kind(std::span<const std::uint8_t> file) {
  struct Kind {
    std::size_t place;
    std::string_view magic, name;
  };
  static constexpr Kind kKinds[] = {
      {0, "GIF8", "a GIF"},
      {4, "ftypavif", "an AVIF image"},
      {4, "ftypavis", "an AVIF image"},
      {4, "ftypheic", "a HEIF image"},
      {4, "ftypheix", "a HEIF image"},
      {4, "ftypmif1", "a HEIF image"},
      {4, "ftyp", "a video"},
      {0, "\0\0\0\x0cjP  "sv, "a JPEG 2000 image"},
      {0, "\xff\x4f\xff\x51", "a JPEG 2000 image"},
      {0, "\xff\x0a", "a JPEG XL image"},
      {0, "\0\0\0\x0cJXL "sv, "a JPEG XL image"},
      {0, "8BPS", "a Photoshop image"},
      {0, "\0\0\1\0"sv, "an icon"},
      {0, "\x93NUMPY", "a NumPy array"},
      {0, "PK\3\4", "a ZIP archive"},
      {0, "version https://git-lfs", "a Git LFS pointer"},
      {0, "<", "a text such as HTML or SVG"},
  };
  for (const Kind& kind : kKinds) {
    if (has_at(file, kind.place, kind.magic)) return kind.name;
  }
  return "";
}

[[noreturn]] void refuse(std::span<const std::uint8_t> file) {
  const std::string kind(other_kind(file));
  const std::string hint =
      kind == "a Git LFS pointer" ? "; fetch what it stands for with 'git lfs pull'"
      : kind.ends_with("image") || kind == "a GIF" || kind == "an icon" ? "; convert it to PNG"
                                                                        : "";
  fail("is not a " + std::string(kImageFormats) + " image" +
       (kind.empty() ? "" : " (it is " + kind + ")") + hint);
}

/// Where a crop begins: negative where the image is smaller and gets padded. Python's round: halves
/// go to even.
int crop_start(int size, int crop) {
  if (crop > size) return -((crop - size) / 2);
  const int half = (size - crop) / 2;
  return (size - crop) % 2 == 0 ? half : half + half % 2;
}

}  // namespace

void check_image_size(std::uint64_t width, std::uint64_t height) {
  if (width == 0 || height == 0) fail("the image has no pixels");
  if (width > kMaxImagePixels / height) {
    fail("the image claims " + std::to_string(width) + " x " + std::to_string(height) +
         " pixels; the limit is " + std::to_string(kMaxImagePixels));
  }
}

void check_image_data(const char* kind, std::uint64_t width, std::uint64_t height, double bits,
                      std::size_t held) {
  check_image_size(width, height);
  if (static_cast<double>(width * height) * bits / 8 <= static_cast<double>(held)) return;
  fail("the " + std::string(kind) + " is truncated: " + std::to_string(held) +
       " bytes cannot hold " + std::to_string(width) + " x " + std::to_string(height) + " pixels");
}

Image blank_image(std::uint64_t width, std::uint64_t height, int channels) {
  check_image_size(width, height);
  Image image{static_cast<int>(width), static_cast<int>(height), channels, {}};
  image.pixels.resize(width * height * static_cast<std::uint64_t>(channels));
  return image;
}

void store_pixel(const std::uint8_t* rgb, int channels, std::uint8_t* out) {
  if (channels == 1) {
    *out = luma(rgb);
  } else {
    std::copy_n(rgb, 3, out);
  }
}

Image decode_image(const std::filesystem::path& path, bool grey) {
  try {
    const std::vector<std::uint8_t> file = read_file(path);
    const int channels = grey ? 1 : 3;
    if (starts_with(file, kJpeg)) return decode_jpeg(file, channels);
    if (starts_with(file, kPng)) return decode_png(file, channels);
    if (starts_with(file, "BM")) return decode_bmp(file, channels);
    if (is_pnm(file)) return decode_pnm(file, channels);
    if (is_tiff(file)) return decode_tiff(file, channels);
    if (is_webp(file)) return decode_webp(file, channels);
    refuse(file);
  } catch (const Error& error) {
    throw Error(error.code(), path.string() + ": " + error.what());
  }
}

bool begins_like_image(const std::filesystem::path& path) {
  std::array<std::uint8_t, 32> bytes{};
  std::ifstream stream(path, std::ios::binary);
  stream.read(reinterpret_cast<char*>(bytes.data()), bytes.size());
  const auto file = std::span<const std::uint8_t>(bytes).first(
      static_cast<std::size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
  const std::string_view kind = other_kind(file);
  // Two letters, or one and a digit, begin texts too.
  const bool bmp = starts_with(file, "BM") && has_at(file, 15, "\0\0\0"sv) && file[14] > 0;
  return starts_with(file, kJpeg) || starts_with(file, kPng) || is_tiff(file) || is_webp(file) ||
         bmp || kind.ends_with("image") || kind == "a GIF";
}

Image with_channels(Image image, int channels) {
  if (image.channels == channels) return image;
  Image result = blank_image(static_cast<std::uint64_t>(image.width),
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

Image centre_crop(const Image& image, int height, int width) {
  if (width < 1 || height < 1) fail("an image cannot be cropped to nothing");
  const int top = crop_start(image.height, height);
  const int left = crop_start(image.width, width);
  Image result = blank_image(static_cast<std::uint64_t>(width), static_cast<std::uint64_t>(height),
                             image.channels);
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
