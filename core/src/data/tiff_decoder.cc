#include "tiff_decoder.h"

#include <tiffio.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "bad_input.h"

namespace bitfall {
namespace {

/// The file in memory, as libtiff reads it, and the first thing that it found wrong.
struct TiffSource {
  std::span<const std::uint8_t> file;
  std::uint64_t position = 0;
  std::string problem;
};

tmsize_t tiff_read(thandle_t handle, void* out, tmsize_t count) {
  auto& source = *static_cast<TiffSource*>(handle);
  if (source.position >= source.file.size()) return 0;
  const std::size_t taken =
      std::min<std::size_t>(static_cast<std::size_t>(count),
                            source.file.size() - static_cast<std::size_t>(source.position));
  std::memcpy(out, source.file.data() + source.position, taken);
  source.position += taken;
  return static_cast<tmsize_t>(taken);
}

tmsize_t tiff_write(thandle_t, void*, tmsize_t) { return 0; }

toff_t tiff_seek(thandle_t handle, toff_t offset, int from) {
  auto& source = *static_cast<TiffSource*>(handle);
  const std::uint64_t base = from == SEEK_SET   ? 0
                             : from == SEEK_CUR ? source.position
                                                : source.file.size();
  return source.position = base + offset;
}

int tiff_close(thandle_t) { return 0; }

toff_t tiff_size(thandle_t handle) { return static_cast<TiffSource*>(handle)->file.size(); }

int tiff_problem(TIFF*, void* data, const char*, const char* format, va_list values) {
  auto& source = *static_cast<TiffSource*>(data);
  std::array<char, 256> text;
  std::vsnprintf(text.data(), text.size(), format, values);
  if (source.problem.empty()) source.problem = text.data();
  return 1;
}

int tiff_keep_silent(TIFF*, void*, const char*, const char*, va_list) { return 1; }

struct Close {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
};
struct Free {
  void operator()(TIFFOpenOptions* options) const { TIFFOpenOptionsFree(options); }
};

class TiffReader {
 public:
  explicit TiffReader(std::span<const std::uint8_t> file) : source_{file} {
    const std::unique_ptr<TIFFOpenOptions, Free> options(TIFFOpenOptionsAlloc());
    if (!options) throw std::bad_alloc();
    TIFFOpenOptionsSetErrorHandlerExtR(options.get(), tiff_problem, &source_);
    TIFFOpenOptionsSetWarningHandlerExtR(options.get(), tiff_keep_silent, nullptr);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), kMostBytes);
    tiff_.reset(TIFFClientOpenExt("", "rm", &source_, tiff_read, tiff_write, tiff_seek, tiff_close,
                                  tiff_size, nullptr, nullptr, options.get()));
    if (!tiff_) broken();
  }

  Image read(int channels) {
    read_header();
    Image image = blank_image(width_, height_, channels);
    const std::uint32_t planes = separate_ ? samples_ : 1;
    samples_read_.resize(std::size_t{width_} * height_ * samples_);
    for (std::uint32_t plane = 0; plane < planes; ++plane) {
      if (TIFFIsTiled(tiff_.get())) {
        read_tiles(static_cast<std::uint16_t>(plane));
      } else {
        read_strips(static_cast<std::uint16_t>(plane));
      }
    }
    std::uint8_t* out = image.pixels.data();
    const std::uint16_t* in = samples_read_.data();
    for (; out != image.pixels.data() + image.pixels.size(); out += channels, in += samples_) {
      std::uint8_t rgb[3];
      colour(in, rgb);
      store_pixel(rgb, channels, out);
    }
    return turned(image);
  }

 private:
  [[noreturn]] void broken() const {
    fail("broken TIFF" + (source_.problem.empty() ? "" : ": " + source_.problem));
  }
  [[noreturn]] static void unsupported(const std::string& what) {
    fail("a TIFF " + what + " is not supported");
  }

  std::uint16_t field(std::uint32_t tag) const {
    std::uint16_t value = 0;
    TIFFGetFieldDefaulted(tiff_.get(), tag, &value);
    return value;
  }

  void read_header() {
    TIFF* const tiff = tiff_.get();
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width_);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height_);
    check_image_size(width_, height_);
    bits_ = field(TIFFTAG_BITSPERSAMPLE);
    samples_ = field(TIFFTAG_SAMPLESPERPIXEL);
    separate_ = field(TIFFTAG_PLANARCONFIG) == PLANARCONFIG_SEPARATE;
    orientation_ = field(TIFFTAG_ORIENTATION);
    if (!TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric_)) broken();
    if (field(TIFFTAG_SAMPLEFORMAT) != SAMPLEFORMAT_UINT)
      unsupported("of numbers with a sign or point");
    const std::uint16_t compression = field(TIFFTAG_COMPRESSION);
    if (!TIFFIsCODECConfigured(compression)) {
      unsupported("with compression " + std::to_string(compression));
    }
    if (compression == COMPRESSION_JPEG && photometric_ == PHOTOMETRIC_YCBCR && !separate_) {
      TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
      photometric_ = PHOTOMETRIC_RGB;
    }
    check_kind();
    const bool fax = compression == COMPRESSION_CCITTRLE || compression == COMPRESSION_CCITTFAX3 ||
                     compression == COMPRESSION_CCITTFAX4 || compression == COMPRESSION_CCITTRLEW;
    if (fax && (bits_ != 1 || samples_ != 1)) {
      fail("broken TIFF: its compression is for one bit a pixel");
    }
    // Before memory is taken for what it claims.
    check_image_data("TIFF", width_, height_, samples_ * bits_ / most_shrunk(compression),
                     source_.file.size());
    if (photometric_ == PHOTOMETRIC_PALETTE &&
        !TIFFGetField(tiff, TIFFTAG_COLORMAP, &palette_[0], &palette_[1], &palette_[2])) {
      broken();
    }
  }

  /// How many times fewer bytes a compression can make of the same value again and again.
  double most_shrunk(int compression) const {
    switch (compression) {
      case COMPRESSION_NONE:
        return 1;
      case COMPRESSION_PACKBITS:  // 128 values in two bytes
        return 64;
      case COMPRESSION_LZW:  // a code of 12 bits stands for 4096 values at most
        return 4096 / 1.5;
      case COMPRESSION_DEFLATE:
      case COMPRESSION_ADOBE_DEFLATE:
        return 1032;
      case COMPRESSION_JPEG:  // a bit at least for each block of 64 pixels
        return 64 * bits_ * samples_;
      case COMPRESSION_CCITTRLE:
      case COMPRESSION_CCITTRLEW:  // a code of 12 bits for 2560 pixels
        return 2560.0 / 12;
      case COMPRESSION_CCITTFAX3:
      case COMPRESSION_CCITTFAX4:  // a bit for a row like the one before
        return width_;
      default:
        return 1e9;
    }
  }

  void check_kind() const {
    const bool rgb = photometric_ == PHOTOMETRIC_RGB;
    const bool grey =
        photometric_ == PHOTOMETRIC_MINISBLACK || photometric_ == PHOTOMETRIC_MINISWHITE;
    if (!rgb && !grey && photometric_ != PHOTOMETRIC_PALETTE) {
      unsupported("of colour space " + std::to_string(photometric_));
    }
    const int colours = rgb ? 3 : 1;
    if (samples_ < colours || samples_ > colours + (rgb ? 3 : 1)) {
      unsupported("of " + std::to_string(samples_) + " channels");
    }
    const bool several = samples_ > 1;
    const bool fits = bits_ == 8 ||
                      (bits_ == 16 && (rgb || photometric_ == PHOTOMETRIC_MINISBLACK)) ||
                      (!several && (bits_ == 1 || bits_ == 2 || bits_ == 4));
    if (!fits) unsupported("of " + std::to_string(bits_) + " bits per sample");
    std::uint16_t extra = 0;
    std::uint16_t* kinds = nullptr;
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_EXTRASAMPLES, &extra, &kinds);
    if (extra > 0 && kinds[0] == EXTRASAMPLE_ASSOCALPHA) unsupported("with premultiplied alpha");
  }

  void read_strips(std::uint16_t plane) {
    std::uint32_t rows = 0;
    TIFFGetFieldDefaulted(tiff_.get(), TIFFTAG_ROWSPERSTRIP, &rows);
    rows = std::min(rows, height_);
    if (rows == 0) broken();
    std::vector<std::uint8_t> strip(bounded(TIFFStripSize(tiff_.get())));
    const std::size_t stride = bounded(TIFFScanlineSize(tiff_.get()));
    for (std::uint32_t y = 0; y < height_; y += rows) {
      const std::uint32_t count = std::min(rows, height_ - y);
      const auto wanted = static_cast<tmsize_t>(stride * count);
      const std::uint32_t number = TIFFComputeStrip(tiff_.get(), y, plane);
      if (TIFFReadEncodedStrip(tiff_.get(), number, strip.data(), wanted) != wanted) broken();
      for (std::uint32_t i = 0; i < count; ++i) {
        take_row(strip.data() + i * stride, 0, width_, y + i, plane);
      }
    }
  }

  void read_tiles(std::uint16_t plane) {
    std::uint32_t width = 0, height = 0;
    TIFFGetField(tiff_.get(), TIFFTAG_TILEWIDTH, &width);
    TIFFGetField(tiff_.get(), TIFFTAG_TILELENGTH, &height);
    if (width == 0 || height == 0) broken();
    std::vector<std::uint8_t> tile(bounded(TIFFTileSize(tiff_.get())));
    const std::size_t stride = bounded(TIFFTileRowSize(tiff_.get()));
    for (std::uint64_t y = 0; y < height_; y += height) {
      for (std::uint64_t x = 0; x < width_; x += width) {
        const std::uint32_t number = TIFFComputeTile(tiff_.get(), static_cast<std::uint32_t>(x),
                                                     static_cast<std::uint32_t>(y), 0, plane);
        const auto size = static_cast<tmsize_t>(tile.size());
        if (TIFFReadEncodedTile(tiff_.get(), number, tile.data(), size) != size) broken();
        for (std::uint64_t i = 0; i < height && y + i < height_; ++i) {
          take_row(tile.data() + i * stride, x, std::min<std::uint64_t>(width, width_ - x), y + i,
                   plane);
        }
      }
    }
  }

  std::size_t bounded(tmsize_t size) const {
    if (size <= 0 || size > kMostBytes) broken();
    return static_cast<std::size_t>(size);
  }

  /// Samples of `count` pixels of row y from x on; of one plane if these are separate.
  void take_row(const std::uint8_t* row, std::uint64_t x, std::uint64_t count, std::uint64_t y,
                std::uint16_t plane) {
    const std::size_t in_row = separate_ ? 1 : samples_;
    const std::size_t step = separate_ ? samples_ : 1;
    std::uint16_t* out = &samples_read_[(y * width_ + x) * samples_ + plane];
    for (std::size_t i = 0; i < count * in_row; ++i, out += step) *out = sample(row, i);
  }

  std::uint16_t sample(const std::uint8_t* row, std::size_t index) const {
    if (bits_ == 8) return row[index];
    if (bits_ == 16) {
      std::uint16_t value;
      std::memcpy(&value, row + 2 * index, 2);  // libtiff gives the machine's order
      return value;
    }
    const std::size_t bit = index * bits_;
    return static_cast<std::uint16_t>(row[bit / 8] >> (8 - bits_ - bit % 8) & ((1U << bits_) - 1));
  }

  /// As Pillow shows it: alpha dropped, 16-bit colour cut to its high byte, 16-bit grey clipped.
  void colour(const std::uint16_t* sample, std::uint8_t* rgb) const {
    for (int c = 0; c < 3; ++c) {
      if (photometric_ == PHOTOMETRIC_PALETTE) {
        rgb[c] = static_cast<std::uint8_t>(palette_[c][*sample] >> 8);
      } else if (photometric_ == PHOTOMETRIC_RGB) {
        rgb[c] = static_cast<std::uint8_t>(bits_ == 16 ? sample[c] >> 8 : sample[c]);
      } else {
        const int grey =
            bits_ == 16 ? std::min<int>(*sample, 255) : *sample * (255 / ((1 << bits_) - 1));
        rgb[c] =
            static_cast<std::uint8_t>(photometric_ == PHOTOMETRIC_MINISWHITE ? 255 - grey : grey);
      }
    }
  }

  /// Pillow shows a TIFF upright, unlike a JPEG with such a tag in its EXIF.
  Image turned(const Image& image) const {
    if (orientation_ < ORIENTATION_TOPRIGHT || orientation_ > ORIENTATION_LEFTBOT) return image;
    const bool swapped = orientation_ >= ORIENTATION_LEFTTOP;
    const bool from_right =
        orientation_ == ORIENTATION_TOPRIGHT || orientation_ == ORIENTATION_BOTRIGHT ||
        orientation_ == ORIENTATION_RIGHTBOT || orientation_ == ORIENTATION_LEFTBOT;
    const bool from_bottom =
        orientation_ == ORIENTATION_BOTRIGHT || orientation_ == ORIENTATION_BOTLEFT ||
        orientation_ == ORIENTATION_RIGHTTOP || orientation_ == ORIENTATION_RIGHTBOT;
    Image result = image;
    if (swapped) std::swap(result.width, result.height);
    std::uint8_t* out = result.pixels.data();
    for (int v = 0; v < result.height; ++v) {
      for (int u = 0; u < result.width; ++u, out += image.channels) {
        const int x = swapped ? v : u, y = swapped ? u : v;
        const int from_x = from_right ? image.width - 1 - x : x;
        const int from_y = from_bottom ? image.height - 1 - y : y;
        std::copy_n(
            image.pixels.begin() +
                (static_cast<std::ptrdiff_t>(from_y) * image.width + from_x) * image.channels,
            image.channels, out);
      }
    }
    return result;
  }

  static constexpr tmsize_t kMostBytes = tmsize_t{1} << 31;
  TiffSource source_;
  std::unique_ptr<TIFF, Close> tiff_;
  std::uint32_t width_ = 0, height_ = 0;
  std::uint16_t bits_ = 0, samples_ = 0, photometric_ = 0, orientation_ = 0;
  bool separate_ = false;
  std::uint16_t* palette_[3] = {};
  std::vector<std::uint16_t> samples_read_;  // [y][x][sample]
};

}  // namespace

Image decode_tiff(std::span<const std::uint8_t> file, int channels) {
  return TiffReader(file).read(channels);
}

}  // namespace bitfall
