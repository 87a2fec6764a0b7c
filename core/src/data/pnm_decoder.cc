#include "pnm_decoder.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>

#include "bad_input.h"

namespace bitfall {
namespace {

constexpr std::string_view kBlanks = " \t\n\v\f\r";

bool is_blank(std::uint8_t byte) { return kBlanks.find(static_cast<char>(byte)) != kBlanks.npos; }

class PnmReader {
 public:
  explicit PnmReader(std::span<const std::uint8_t> file)
      : file_(file), kind_(file[1] - '0'), position_(3) {}

  Image read(int channels) {
    const std::uint64_t width = number("its width", kMost);
    const std::uint64_t height = number("its height", kMost);
    bitmap_ = kind_ == 1 || kind_ == 4;
    if (!bitmap_) most_ = static_cast<int>(number("its largest value", 65535));
    if (most_ == 0) fail("broken PNM: its largest value is 0");
    const int samples = kind_ % 3 == 0 ? 3 : 1;
    check_image_data("PNM", width, height, kind_ == 4 ? 1 : 8 * samples, file_.size());
    Image image = blank_image(width, height, channels);
    std::uint8_t* out = image.pixels.data();
    for (std::uint64_t y = 0; y < height; ++y) {
      for (std::uint64_t x = 0; x < width; ++x, out += channels) {
        std::uint8_t rgb[3];
        for (int c = 0; c < samples; ++c) rgb[c] = level(x);
        if (samples == 1) std::fill_n(rgb + 1, 2, rgb[0]);
        // Grey stays as it is: the luma of equal parts is that part.
        store_pixel(rgb, channels, out);
      }
    }
    return image;
  }

 private:
  static constexpr std::uint64_t kMost = 0x7fffffff;
  static constexpr std::size_t kLongestWord = 10;

  [[noreturn]] static void truncated() { fail("the PNM is truncated"); }

  std::uint8_t byte() {
    if (position_ == file_.size()) truncated();
    return file_[position_++];
  }

  /// Passes over blanks and comments before a word.
  void skip_blanks() {
    while (position_ < file_.size()) {
      if (file_[position_] == '#') {
        while (position_ < file_.size() && file_[position_] != '\n' && file_[position_] != '\r') {
          ++position_;
        }
      } else if (is_blank(file_[position_])) {
        ++position_;
      } else {
        return;
      }
    }
    truncated();
  }

  /// A word of digits, and the one blank behind it.
  std::uint64_t number(const char* what, std::uint64_t most) {
    skip_blanks();
    std::string word;
    for (; position_ < file_.size() && !is_blank(file_[position_]); ++position_) {
      if (word.size() == kLongestWord) fail(std::string("broken PNM: ") + what + " is too long");
      word += static_cast<char>(file_[position_]);
    }
    if (position_ < file_.size()) ++position_;
    std::uint64_t value = 0;
    const auto read = std::from_chars(word.data(), word.data() + word.size(), value);
    if (read.ec != std::errc() || read.ptr != word.data() + word.size()) {
      fail(std::string("broken PNM: ") + what + " is not a number");
    }
    if (value > most) fail(std::string("broken PNM: ") + what + " is too large");
    return value;
  }

  /// The next sample as 8 bits: Pillow brings it to 255, or what needs 16 bits to 65535 and then
  /// cuts it at 255.
  std::uint8_t level(std::uint64_t x) {
    if (bitmap_) return bit(x) ? 0 : 255;
    const int value = kind_ < 4 ? static_cast<int>(number("a value", static_cast<unsigned>(most_)))
                      : most_ < 256 ? byte()
                                    : sixteen_bits();
    const int top = most_ > 255 && kind_ % 3 == 2 ? 65535 : 255;
    // Halves go to even, as in Python.
    const double scaled = std::nearbyint(static_cast<double>(value) / most_ * top);
    return static_cast<std::uint8_t>(std::min(scaled, 255.0));
  }

  int sixteen_bits() {
    const int high = byte();
    return high << 8 | byte();
  }

  /// Of a bitmap: rows begin with a byte of their own; in words, blanks between digits may be
  /// missing.
  bool bit(std::uint64_t x) {
    if (kind_ == 4) {
      if (x % 8 == 0) bits_ = byte();
      return (bits_ >> (7 - x % 8) & 1) != 0;
    }
    skip_blanks();
    const std::uint8_t digit = byte();
    if (digit != '0' && digit != '1') fail("broken PNM: a value is neither 0 nor 1");
    return digit == '1';
  }

  std::span<const std::uint8_t> file_;
  int kind_;  // 1 to 6: bits, grey, colour in words; the same in bytes
  std::size_t position_;
  bool bitmap_ = false;
  int most_ = 1;
  unsigned bits_ = 0;
};

}  // namespace

Image decode_pnm(std::span<const std::uint8_t> file, int channels) {
  return PnmReader(file).read(channels);
}

}  // namespace bitfall
