#include "pixel_changes.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numbers>
#include <numeric>

namespace bitfall {
namespace {

using Matrix = std::array<double, 6>;
using Levels = std::array<std::uint8_t, 256>;

Image like(const Image& image) {
  return blank_image(static_cast<std::uint64_t>(image.width),
                     static_cast<std::uint64_t>(image.height), image.channels);
}

const std::uint8_t* pixel(const Image& image, int x, int y) {
  return image.pixels.data() + (static_cast<std::ptrdiff_t>(y) * image.width + x) * image.channels;
}
std::uint8_t* pixel(Image& image, int x, int y) {
  return image.pixels.data() + (static_cast<std::ptrdiff_t>(y) * image.width + x) * image.channels;
}

/// As C takes a number that is in range; else the nearest that is.
std::uint8_t clipped(double value) {
  return value <= 0 ? 0 : value >= 255 ? 255 : static_cast<std::uint8_t>(value);
}

// Places ------------------------------------------------------------------------------------------

/// The pixel that a coordinate lies in; -1 below 0 (COORD in Pillow's Geometry.c).
int place(double value) { return value < 0 ? -1 : static_cast<int>(value); }

void copy_pixel(const Image& image, int x, int y, std::uint8_t* out) {
  if (x < 0 || x >= image.width || y < 0 || y >= image.height) return;
  std::copy_n(pixel(image, x, y), image.channels, out);
}

/// Pillow's affine_fixed: 16 bits behind the point.
void turn_nearest(const Image& image, const Matrix& m, Image& out) {
  const auto fixed = [](double value) {
    return static_cast<std::int64_t>(std::floor(value * 65536.0 + 0.5));
  };
  std::int64_t row_x = fixed(m[2] + m[0] * 0.5 + m[1] * 0.5);
  std::int64_t row_y = fixed(m[5] + m[3] * 0.5 + m[4] * 0.5);
  for (int y = 0; y < out.height; ++y) {
    std::int64_t at_x = row_x, at_y = row_y;
    for (int x = 0; x < out.width; ++x) {
      copy_pixel(image, static_cast<int>(at_x >> 16), static_cast<int>(at_y >> 16),
                 pixel(out, x, y));
      at_x += fixed(m[0]);
      at_y += fixed(m[3]);
    }
    row_x += fixed(m[1]);
    row_y += fixed(m[4]);
  }
}

/// Pillow's ImagingScaleAffine: rows stay rows.
void move_nearest(const Image& image, const Matrix& m, Image& out) {
  double at_y = m[5] + m[4] * 0.5;
  for (int y = 0; y < out.height; ++y, at_y += m[4]) {
    double at_x = m[2] + m[0] * 0.5;
    for (int x = 0; x < out.width; ++x, at_x += m[0]) {
      copy_pixel(image, place(at_x), place(at_y), pixel(out, x, y));
    }
  }
}

/// Colours around a place, edges repeated.
class Around {
 public:
  Around(const Image& image, double x, double y) : image_(image) {
    x -= 0.5;
    y -= 0.5;
    left_ = static_cast<int>(std::floor(x));
    top_ = static_cast<int>(std::floor(y));
    right_by_ = x - left_;
    down_by_ = y - top_;
  }

  std::uint8_t bilinear(int channel) const {
    const auto row = [&](int y) {
      const double a = at(0, y, channel);
      return a + (at(1, y, channel) - a) * right_by_;
    };
    const double first = row(0);
    const double second = inside(1) ? row(1) : first;
    return static_cast<std::uint8_t>(first + (second - first) * down_by_);
  }

  std::uint8_t bicubic(int channel) const {
    std::array<double, 4> rows{};
    for (int y = -1; y <= 2; ++y) {
      // A row below the picture is the one above it; above the picture the first is taken.
      const auto i = static_cast<std::size_t>(y + 1);
      rows[i] =
          y > -1 && !inside(y)
              ? rows[i - 1]
              : cubic({at(-1, y, channel), at(0, y, channel), at(1, y, channel), at(2, y, channel)},
                      right_by_);
    }
    return clipped(cubic(rows, down_by_));
  }

 private:
  static double cubic(const std::array<double, 4>& v, double d) {
    const double p2 = -v[0] + v[2];
    const double p3 = 2 * (v[0] - v[1]) + v[2] - v[3];
    const double p4 = -v[0] + v[1] - v[2] + v[3];
    return v[1] + d * (p2 + d * (p3 + d * p4));
  }

  bool inside(int down) const { return top_ + down >= 0 && top_ + down < image_.height; }

  double at(int right, int down, int channel) const {
    const int x = std::clamp(left_ + right, 0, image_.width - 1);
    const int y = std::clamp(top_ + down, 0, image_.height - 1);
    return pixel(image_, x, y)[channel];
  }

  const Image& image_;
  int left_, top_;
  double right_by_, down_by_;
};

void turn_smoothly(const Image& image, const Matrix& m, bool cubic, Image& out) {
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      const double at_x = m[0] * (x + 0.5) + m[1] * (y + 0.5) + m[2];
      const double at_y = m[3] * (x + 0.5) + m[4] * (y + 0.5) + m[5];
      if (!(at_x >= 0 && at_x < image.width && at_y >= 0 && at_y < image.height)) continue;
      const Around around(image, at_x, at_y);
      for (int c = 0; c < image.channels; ++c) {
        pixel(out, x, y)[c] = cubic ? around.bicubic(c) : around.bilinear(c);
      }
    }
  }
}

double radians(double degrees) { return degrees * (std::numbers::pi / 180.0); }

/// Python's round(value, 15).
double to_fifteen_places(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.15f", value);
  return std::strtod(text, nullptr);
}

/// torchvision's _get_inverse_affine_matrix of no rotation and scale 1.
Matrix inverse_affine(std::array<double, 2> centre, std::array<double, 2> translation,
                      std::array<double, 2> shear) {
  const double sx = radians(shear[0]), sy = radians(shear[1]);
  const double a = std::cos(-sy) / std::cos(sy);
  const double b = -std::cos(-sy) * std::tan(sx) / std::cos(sy);
  const double c = std::sin(-sy) / std::cos(sy);
  const double d = -std::sin(-sy) * std::tan(sx) / std::cos(sy) + 1.0;
  Matrix matrix = {d, -b, 0, -c, a, 0};
  const double x = -centre[0] - translation[0], y = -centre[1] - translation[1];
  matrix[2] += matrix[0] * x + matrix[1] * y;
  matrix[5] += matrix[3] * x + matrix[4] * y;
  matrix[2] += centre[0];
  matrix[5] += centre[1];
  return matrix;
}

/// A quarter turn, counter-clockwise; the picture is square.
Image quarter_turn(const Image& image, bool clockwise) {
  Image out = like(image);
  const int last = image.width - 1;
  for (int y = 0; y <= last; ++y) {
    for (int x = 0; x <= last; ++x) {
      const int from_x = clockwise ? y : last - y, from_y = clockwise ? last - x : x;
      std::copy_n(pixel(image, from_x, from_y), image.channels, pixel(out, x, y));
    }
  }
  return out;
}

// Colours -----------------------------------------------------------------------------------------

/// Pillow's Image.blend, in float32 as there.
Image blended(const Image& first, const Image& second, double factor) {
  const auto alpha = static_cast<float>(factor);
  if (alpha == 0) return first;
  if (alpha == 1) return second;
  Image out = first;
  for (std::size_t i = 0; i < out.pixels.size(); ++i) {
    const int a = first.pixels[i], b = second.pixels[i];
    const float value = static_cast<float>(a) + alpha * static_cast<float>(b - a);
    out.pixels[i] = clipped(static_cast<double>(value));
  }
  return out;
}

/// Pillow's filter SMOOTH: the nine pixels around each, the middle five times; edges stay.
Image smoothed(const Image& image) {
  Image out = image;
  for (int y = 1; y < image.height - 1; ++y) {
    for (int x = 1; x < image.width - 1; ++x) {
      for (int c = 0; c < image.channels; ++c) {
        int sum = 4 * pixel(image, x, y)[c];
        for (int down = -1; down <= 1; ++down) {
          for (int right = -1; right <= 1; ++right) sum += pixel(image, x + right, y + down)[c];
        }
        pixel(out, x, y)[c] = static_cast<std::uint8_t>((2 * sum + 13) / 26);
      }
    }
  }
  return out;
}

std::array<std::int64_t, 256> histogram(const Image& image, int channel) {
  std::array<std::int64_t, 256> counts{};
  const auto step = static_cast<std::size_t>(image.channels);
  for (std::size_t i = static_cast<std::size_t>(channel); i < image.pixels.size(); i += step) {
    ++counts[image.pixels[i]];
  }
  return counts;
}

/// Exchanges each channel's values by a table, which may depend on the channel.
template <typename TableOf>
Image exchanged(const Image& image, TableOf table_of) {
  Image out = image;
  const auto step = static_cast<std::size_t>(image.channels);
  for (int c = 0; c < image.channels; ++c) {
    const Levels table = table_of(c);
    for (std::size_t i = static_cast<std::size_t>(c); i < out.pixels.size(); i += step) {
      out.pixels[i] = table[out.pixels[i]];
    }
  }
  return out;
}

Levels unchanged() {
  Levels levels;
  std::iota(levels.begin(), levels.end(), std::uint8_t{0});
  return levels;
}

Levels stretching(const Image& image, int channel) {
  const auto counts = histogram(image, channel);
  int low = 0, high = 255;
  while (low < 255 && counts[static_cast<std::size_t>(low)] == 0) ++low;
  while (high > 0 && counts[static_cast<std::size_t>(high)] == 0) --high;
  Levels levels = unchanged();
  if (high <= low) return levels;
  const double scale = 255.0 / (high - low), offset = -low * scale;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    levels[i] = clipped(static_cast<double>(i) * scale + offset);
  }
  return levels;
}

Levels equalizing(const Image& image, int channel) {
  const auto counts = histogram(image, channel);
  Levels levels = unchanged();
  const auto is_used = [](std::int64_t count) { return count > 0; };
  if (std::count_if(counts.begin(), counts.end(), is_used) <= 1) return levels;
  const std::int64_t last = *std::find_if(counts.rbegin(), counts.rend(), is_used);
  const std::int64_t step =
      (std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) - last) / 255;
  if (step == 0) return levels;
  std::int64_t below = step / 2;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    levels[i] = static_cast<std::uint8_t>(std::min<std::int64_t>(below / step, 255));
    below += counts[i];
  }
  return levels;
}

}  // namespace

bool can_turn(Interpolation interpolation) {
  using enum Interpolation;
  return interpolation == kNearest || interpolation == kBilinear || interpolation == kBicubic;
}

Image transformed(const Image& image, const Matrix& matrix, Interpolation interpolation) {
  Image out = like(image);
  if (interpolation != Interpolation::kNearest) {
    turn_smoothly(image, matrix, interpolation == Interpolation::kBicubic, out);
  } else if (matrix[1] == 0 && matrix[3] == 0) {
    move_nearest(image, matrix, out);
  } else {
    turn_nearest(image, matrix, out);
  }
  return out;
}

Image sheared(const Image& image, std::array<double, 2> degrees, std::array<double, 2> centre,
              Interpolation interpolation) {
  return transformed(image, inverse_affine(centre, {0, 0}, degrees), interpolation);
}

Image translated(const Image& image, int right, int down, Interpolation interpolation) {
  const std::array<double, 2> centre = {image.width * 0.5, image.height * 0.5};
  const std::array<double, 2> by = {static_cast<double>(right), static_cast<double>(down)};
  return transformed(image, inverse_affine(centre, by, {0, 0}), interpolation);
}

Image rotated(const Image& image, double degrees, Interpolation interpolation) {
  const double turn = degrees - 360 * std::floor(degrees / 360);
  if (turn == 0) return image;
  if (image.width == image.height && (turn == 90 || turn == 270)) {
    return quarter_turn(image, turn == 270);
  }
  const double angle = -radians(turn);
  const double x = image.width / 2.0, y = image.height / 2.0;
  const double cosine = to_fifteen_places(std::cos(angle));
  Matrix matrix = {cosine, to_fifteen_places(std::sin(angle)),
                   0,      to_fifteen_places(-std::sin(angle)),
                   cosine, 0};
  matrix[2] = matrix[0] * -x + matrix[1] * -y + x;
  matrix[5] = matrix[3] * -x + matrix[4] * -y + y;
  return transformed(image, matrix, interpolation);
}

Image with_brightness(const Image& image, double factor) {
  return blended(like(image), image, factor);
}

Image with_colour(const Image& image, double factor) {
  return blended(with_channels(with_channels(image, 1), image.channels), image, factor);
}

Image with_contrast(const Image& image, double factor) {
  const Image grey = with_channels(image, 1);
  const double sum = std::accumulate(grey.pixels.begin(), grey.pixels.end(), 0.0);
  Image even = image;
  std::fill(even.pixels.begin(), even.pixels.end(),
            static_cast<std::uint8_t>(sum / static_cast<double>(grey.pixels.size()) + 0.5));
  return blended(even, image, factor);
}

Image with_sharpness(const Image& image, double factor) {
  return blended(smoothed(image), image, factor);
}

Image posterized(const Image& image, int bits) {
  Levels levels = unchanged();
  for (std::uint8_t& level : levels) level &= static_cast<std::uint8_t>(0xFF << (8 - bits));
  return exchanged(image, [&](int) { return levels; });
}

Image solarized(const Image& image, double threshold) {
  Levels levels = unchanged();
  for (std::uint8_t& level : levels) {
    if (!(level < threshold)) level = static_cast<std::uint8_t>(255 - level);
  }
  return exchanged(image, [&](int) { return levels; });
}

Image autocontrasted(const Image& image) {
  return exchanged(image, [&](int channel) { return stretching(image, channel); });
}

Image equalized(const Image& image) {
  return exchanged(image, [&](int channel) { return equalizing(image, channel); });
}

}  // namespace bitfall
