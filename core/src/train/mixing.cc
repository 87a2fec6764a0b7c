#include "mixing.h"

#include <algorithm>
#include <cmath>

#include "resize.h"

namespace bitfall {
namespace {

constexpr int kTries = 10;

/// Python's round(): halves to the even number.
std::int64_t to_even(double value) { return static_cast<std::int64_t>(std::nearbyint(value)); }

std::int64_t below(RandomStream& random, std::int64_t count) {
  return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(count)));
}

}  // namespace

double uniform(RandomStream& random, double low, double high) {
  return low + (high - low) * (static_cast<double>(random.next()) / 4294967296.0);
}

PixelBox draw_crop(RandomStream& random, std::int64_t height, std::int64_t width,
                   std::array<double, 2> scale, std::array<double, 2> ratio) {
  const auto area = static_cast<double>(height * width);
  for (int i = 0; i < kTries; ++i) {
    const double target = area * uniform(random, scale[0], scale[1]);
    const double aspect = std::exp(uniform(random, std::log(ratio[0]), std::log(ratio[1])));
    PixelBox box;
    box.width = to_even(std::sqrt(target * aspect));
    box.height = to_even(std::sqrt(target / aspect));
    if (box.width < 1 || box.width > width || box.height < 1 || box.height > height) continue;
    box.top = below(random, height - box.height + 1);
    box.left = below(random, width - box.width + 1);
    return box;
  }
  const double given = static_cast<double>(width) / static_cast<double>(height);
  PixelBox box{0, 0, height, width};
  if (given < ratio[0]) {
    box.height = to_even(static_cast<double>(width) / ratio[0]);
  } else if (given > ratio[1]) {
    box.width = to_even(static_cast<double>(height) * ratio[1]);
  }
  box.top = (height - box.height) / 2;
  box.left = (width - box.width) / 2;
  return box;
}

Image resized_crop(const Image& picture, const PixelBox& box, std::int64_t height,
                   std::int64_t width, Interpolation interpolation) {
  Image part = blank_image(static_cast<std::uint64_t>(box.width),
                           static_cast<std::uint64_t>(box.height), picture.channels);
  const auto row = static_cast<std::size_t>(box.width * picture.channels);
  for (std::int64_t y = 0; y < box.height; ++y) {
    const auto from =
        static_cast<std::size_t>(((box.top + y) * picture.width + box.left) * picture.channels);
    std::copy_n(
        picture.pixels.begin() + static_cast<std::ptrdiff_t>(from), row,
        part.pixels.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(y) * row));
  }
  return resize(part, static_cast<int>(width), static_cast<int>(height), interpolation);
}

std::optional<PixelBox> draw_erased(RandomStream& random, std::int64_t height, std::int64_t width) {
  const auto area = static_cast<double>(height * width);
  for (int i = 0; i < kTries; ++i) {
    const double target = area * uniform(random, 0.02, 0.33);
    const double aspect = std::exp(uniform(random, std::log(0.3), std::log(3.3)));
    PixelBox box;
    box.height = to_even(std::sqrt(target * aspect));
    box.width = to_even(std::sqrt(target / aspect));
    if (box.height >= height || box.width >= width) continue;
    box.top = below(random, height - box.height + 1);
    box.left = below(random, width - box.width + 1);
    return box;
  }
  return std::nullopt;
}

void erase(std::span<float> values, std::array<std::int64_t, 3> shape, const PixelBox& box) {
  const auto [channels, height, width] = shape;
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t y = box.top; y < box.top + box.height; ++y) {
      const auto begin = values.begin() + (c * height + y) * width + box.left;
      std::fill(begin, begin + box.width, 0.0F);
    }
  }
}

double draw_beta(RandomStream& random, double alpha) {
  for (;;) {
    const double x = std::pow(uniform(random, 0, 1), 1 / alpha);
    const double y = std::pow(uniform(random, 0, 1), 1 / alpha);
    if (x + y > 0 && x + y <= 1) return x / (x + y);
  }
}

Mix cut_mix(double lambda, std::int64_t centre_y, std::int64_t centre_x, std::int64_t height,
            std::int64_t width) {
  const double half = 0.5 * std::sqrt(1 - lambda);
  const auto half_width = static_cast<std::int64_t>(half * static_cast<double>(width));
  const auto half_height = static_cast<std::int64_t>(half * static_cast<double>(height));
  const std::int64_t left = std::max<std::int64_t>(centre_x - half_width, 0);
  const std::int64_t top = std::max<std::int64_t>(centre_y - half_height, 0);
  const std::int64_t right = std::min(centre_x + half_width, width);
  const std::int64_t bottom = std::min(centre_y + half_height, height);
  const auto cut = static_cast<double>((right - left) * (bottom - top));
  return {1 - cut / static_cast<double>(width * height),
          PixelBox{top, left, bottom - top, right - left}};
}

std::optional<Mix> draw_mix(RandomStream& random, const AugmentationConfig& config,
                            std::int64_t height, std::int64_t width) {
  if (config.mixup == 0 && config.cutmix == 0) return std::nullopt;
  const bool cut = config.cutmix > 0 && (config.mixup == 0 || random.below(2) == 1);
  const double lambda = draw_beta(random, cut ? config.cutmix : config.mixup);
  if (!cut) return Mix{lambda, std::nullopt};
  const std::int64_t x = below(random, width), y = below(random, height);
  return cut_mix(lambda, y, x, height, width);
}

void mix(std::span<float> values, std::array<std::int64_t, 3> shape, const Mix& how) {
  const auto [channels, height, width] = shape;
  const auto size = static_cast<std::size_t>(channels * height * width);
  const std::size_t batch = values.size() / size;
  const std::vector<float> before(values.begin(), values.end());
  for (std::size_t i = 0; i < batch; ++i) {
    const float* other = before.data() + (i == 0 ? batch - 1 : i - 1) * size;
    float* own = values.data() + i * size;
    if (!how.box) {
      const auto share = static_cast<float>(how.share), rest = static_cast<float>(1 - how.share);
      for (std::size_t k = 0; k < size; ++k) own[k] = own[k] * share + other[k] * rest;
      continue;
    }
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t y = how.box->top; y < how.box->top + how.box->height; ++y) {
        const std::int64_t from = (c * height + y) * width + how.box->left;
        std::copy_n(other + from, how.box->width, own + from);
      }
    }
  }
}

}  // namespace bitfall
