#include "resize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <vector>

#include "error.h"

namespace bitfall {
namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;  // Pillow's fixed point: 8 bits of result, 2 to spare

/// Which inputs make each output along one axis: output i = sum of weights[i * taps + k] *
/// input[first[i] + k].
struct Taps {
  int taps = 0;
  std::vector<int> first;
  std::vector<int> count;
  std::vector<std::int32_t> weights;
};

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

// Pillow's filters, each with the distance from which on it is zero. Every operation is in Pillow's
// order, since weights must round alike.
double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double triangle(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double hamming(double x) {
  x = std::abs(x);
  if (x == 0.0) return 1.0;
  if (x >= 1.0) return 0.0;
  x *= std::numbers::pi;
  return std::sin(x) / x * (0.54 + 0.46 * std::cos(x));
}

double cubic(double x) {
  constexpr double kSharpness = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((kSharpness + 2.0) * x - (kSharpness + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * kSharpness;
  return 0.0;
}

double lanczos(double x) { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

struct Filter {
  double (*weight)(double);
  double support;
};

Filter filter_of(Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::kBox:
      return {box, 0.5};
    case Interpolation::kHamming:
      return {hamming, 1.0};
    case Interpolation::kBicubic:
      return {cubic, 2.0};
    case Interpolation::kLanczos:
      return {lanczos, 3.0};
    default:
      return {triangle, 1.0};
  }
}

/// The filter, widened by the scale when shrinking. Every operation is in the order of Pillow's
/// precompute_coeffs: hence the casts of x + 0.5.
// NOLINTBEGIN(bugprone-incorrect-roundings)
Taps taps_of(const Filter& filter, int input, int output) {
  const double scale = static_cast<double>(input) / output;
  const double widened = std::max(scale, 1.0);
  const double support = filter.support * widened;
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
      exact[static_cast<std::size_t>(k)] =
          filter.weight((k + first - centre + 0.5) * (1.0 / widened));
      sum += exact[static_cast<std::size_t>(k)];
    }
    std::int32_t* weights = &taps.weights[i * static_cast<std::size_t>(taps.taps)];
    for (int k = 0; k < count; ++k) {
      double weight = exact[static_cast<std::size_t>(k)];
      if (sum != 0.0) weight /= sum;
      const double half = weight < 0 ? -0.5 : 0.5;
      weights[k] = static_cast<std::int32_t>(half + weight * (1 << kPrecisionBits));
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

Image resize_width(const Image& image, int width, const Filter& filter) {
  if (width == image.width) return image;
  const Taps taps = taps_of(filter, image.width, width);
  Image result = blank_image(static_cast<std::uint64_t>(width),
                             static_cast<std::uint64_t>(image.height), image.channels);
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

Image resize_height(const Image& image, int height, const Filter& filter) {
  if (height == image.height) return image;
  const Taps taps = taps_of(filter, image.height, height);
  Image result = blank_image(static_cast<std::uint64_t>(image.width),
                             static_cast<std::uint64_t>(height), image.channels);
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

/// Which input each output takes without filtering: Pillow adds up steps, which rounds in its own
/// way.
std::vector<std::size_t> nearest_places(int input, int output) {
  const double step = static_cast<double>(input) / output;
  std::vector<std::size_t> places;
  double place = step * 0.5;
  for (int i = 0; i < output; ++i, place += step) {
    places.push_back(static_cast<std::size_t>(std::min(static_cast<int>(place), input - 1)));
  }
  return places;
}

Image resize_nearest(const Image& image, int width, int height) {
  Image result = blank_image(static_cast<std::uint64_t>(width), static_cast<std::uint64_t>(height),
                             image.channels);
  const std::vector<std::size_t> columns = nearest_places(image.width, width);
  std::uint8_t* out = result.pixels.data();
  for (const std::size_t y : nearest_places(image.height, height)) {
    const std::uint8_t* row = image.pixels.data() + y * row_bytes(image);
    for (const std::size_t x : columns) {
      out = std::copy_n(row + x * static_cast<std::size_t>(image.channels), image.channels, out);
    }
  }
  return result;
}

}  // namespace

Image resize(const Image& image, int width, int height, Interpolation interpolation) {
  if (width < 1 || height < 1)
    throw Error(ExitCode::kInput, "an image cannot be resized to nothing");
  if (interpolation == Interpolation::kNearest) return resize_nearest(image, width, height);
  const Filter filter = filter_of(interpolation);
  if (height_goes_first(image, width, height)) {
    return resize_width(resize_height(image, height, filter), width, filter);
  }
  return resize_height(resize_width(image, width, filter), height, filter);
}

}  // namespace bitfall
