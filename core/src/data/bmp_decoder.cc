#include "bmp_decoder.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <string>

#include "bad_input.h"

namespace bitfall {
namespace {

/// Where red, green, blue and alpha lie in a pixel: the layouts that Pillow knows.
struct Masks {
  std::uint32_t red, green, blue, alpha;
  bool operator==(const Masks&) const = default;
};
constexpr Masks kBgrx = {0xff0000, 0xff00, 0xff, 0};
constexpr std::array<Masks, 7> kMasks32 = {{kBgrx,
                                            {0xff000000, 0xff0000, 0xff00, 0},
                                            {0xff000000, 0xff00, 0xff, 0},
                                            {0xff000000, 0xff0000, 0xff00, 0xff},
                                            {0xff, 0xff00, 0xff0000, 0xff000000},
                                            {0xff0000, 0xff00, 0xff, 0xff000000},
                                            {0xff000000, 0xff00, 0xff, 0xff0000}}};
constexpr Masks k555 = {0x7c00, 0x3e0, 0x1f, 0};
constexpr Masks k565 = {0xf800, 0x7e0, 0x1f, 0};

class BmpReader {
 public:
  explicit BmpReader(std::span<const std::uint8_t> file) : file_(file) {}

  Image read(int channels) {
    read_header();
    if (bits_ <= 8) {
      read_palette();
    } else {
      choose_masks();
    }
    const std::uint64_t stride = ((std::uint64_t{width_} * bits_ + 31) >> 3) & ~std::uint64_t{3};
    const std::uint64_t row = (std::uint64_t{width_} * bits_ + 7) / 8;
    // The last row may lack what pads it.
    if (offset_ > file_.size() || stride * (height_ - 1) + row > file_.size() - offset_) {
      fail("the BMP is truncated");
    }
    Image image = blank_image(width_, height_, channels);
    for (std::uint32_t y = 0; y < height_; ++y) {
      const std::uint32_t from = top_down_ ? y : height_ - 1 - y;
      const std::uint8_t* in = file_.data() + offset_ + stride * from;
      std::uint8_t* out = image.pixels.data() + std::size_t{y} * width_ * image.channels;
      for (std::uint32_t x = 0; x < width_; ++x, out += channels) {
        std::uint8_t rgb[3];
        colour(in, x, rgb);
        store_pixel(rgb, channels, out);
      }
    }
    return image;
  }

 private:
  std::uint32_t number(std::size_t place, int bytes) const {
    if (file_.size() < static_cast<std::size_t>(bytes) ||
        place > file_.size() - static_cast<std::size_t>(bytes)) {
      fail("the BMP is truncated");
    }
    std::uint32_t value = 0;
    for (int i = bytes; i-- > 0;) value = value << 8 | file_[place + static_cast<std::size_t>(i)];
    return value;
  }
  std::uint32_t u16(std::size_t place) const { return number(place, 2); }
  std::uint32_t u32(std::size_t place) const { return number(place, 4); }

  void read_header() {
    offset_ = u32(10);
    header_ = u32(kFileHeader);
    const std::array<std::uint32_t, 7> known = {12, 40, 52, 56, 64, 108, 124};
    if (std::find(known.begin(), known.end(), header_) == known.end()) {
      fail("a BMP with a header of " + std::to_string(header_) + " bytes is not supported");
    }
    if (header_ == 12) {
      width_ = u16(18), height_ = u16(20), bits_ = u16(24);
    } else {
      width_ = u32(18), height_ = u32(22), bits_ = u16(28);
      // A negative height: the first row is the uppermost.
      top_down_ = height_ >> 24 == 0xff;
      if (top_down_) height_ = 0U - height_;
      compression_ = u32(30);
      colours_ = u32(46);
    }
    const std::array<std::uint32_t, 6> depths = {1, 4, 8, 16, 24, 32};
    if (std::find(depths.begin(), depths.end(), bits_) == depths.end()) {
      fail("a BMP of " + std::to_string(bits_) + " bits per pixel is not supported");
    }
    const bool masked = compression_ == kBitFields && bits_ > 8;
    if (compression_ != 0 && !masked) {
      fail("a BMP with compression " + std::to_string(compression_) + " is not supported");
    }
    check_image_size(width_, height_);
  }

  void read_palette() {
    const std::size_t entry = header_ == 12 ? 3 : 4;
    if (colours_ == 0) colours_ = 1U << bits_;
    if (colours_ > 65536) fail("the BMP claims " + std::to_string(colours_) + " colours");
    const std::size_t start = kFileHeader + header_;
    // Some writers give the place of the palette for that of the pixels.
    if (offset_ == start) offset_ += entry * colours_;
    bool wedge = true;  // a palette of greys in their order, which Pillow leaves aside
    for (std::uint32_t i = 0; i < std::min(colours_, 256U); ++i) {
      for (std::size_t c = 0; c < 3; ++c) {
        palette_[i][c] = static_cast<std::uint8_t>(number(start + entry * i + 2 - c, 1));
      }
      const auto level = static_cast<std::uint8_t>(colours_ == 2 ? i * 255 : i);
      wedge &= palette_[i] == std::array<std::uint8_t, 3>{level, level, level};
    }
    if (!wedge || colours_ == 2) return;
    for (std::uint32_t i = colours_; i < 256; ++i) palette_[i].fill(static_cast<std::uint8_t>(i));
  }

  void choose_masks() {
    masks_ = bits_ == 16 ? k555 : kBgrx;
    if (compression_ != kBitFields) return;
    Masks given = {u32(54), u32(58), u32(62), header_ >= 56 && bits_ == 32 ? u32(66) : 0};
    if (bits_ == 32 && given == Masks{0, 0, 0, 0}) given = kBgrx;
    const bool known = bits_ == 16 ? given == k555 || given == k565
                       : bits_ == 24
                           ? given == kBgrx
                           : std::find(kMasks32.begin(), kMasks32.end(), given) != kMasks32.end();
    if (!known) fail("a BMP with such bit fields is not supported");
    masks_ = given;
  }

  void colour(const std::uint8_t* row, std::uint32_t x, std::uint8_t* rgb) const {
    if (bits_ <= 8) {
      const std::uint32_t per_byte = 8 / bits_;
      const std::uint32_t shift = (per_byte - 1 - x % per_byte) * bits_;
      const std::uint32_t index = row[x / per_byte] >> shift & ((1U << bits_) - 1);
      std::copy_n(palette_[index].begin(), 3, rgb);
      return;
    }
    std::uint32_t pixel = 0;
    const std::size_t bytes = bits_ / 8;
    for (std::size_t i = bytes; i-- > 0;) pixel = pixel << 8 | row[x * bytes + i];
    rgb[0] = level(pixel, masks_.red);
    rgb[1] = level(pixel, masks_.green);
    rgb[2] = level(pixel, masks_.blue);
  }

  static std::uint8_t level(std::uint32_t pixel, std::uint32_t mask) {
    const int shift = std::countr_zero(mask);
    const std::uint32_t most = mask >> shift;
    return static_cast<std::uint8_t>((pixel >> shift & most) * 255 / most);
  }

  static constexpr std::size_t kFileHeader = 14;
  static constexpr std::uint32_t kBitFields = 3;
  std::span<const std::uint8_t> file_;
  std::uint32_t header_ = 0, width_ = 0, height_ = 0, bits_ = 0, compression_ = 0, colours_ = 0;
  std::size_t offset_ = 0;
  bool top_down_ = false;
  std::array<std::array<std::uint8_t, 3>, 256> palette_{};  // black beyond the file's entries
  Masks masks_{};
};

}  // namespace

Image decode_bmp(std::span<const std::uint8_t> file, int channels) {
  return BmpReader(file).read(channels);
}

}  // namespace bitfall
