#include "preprocess.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "bad_input.h"
#include "resize.h"

namespace bitfall {
namespace {

constexpr double kToTensor = 1.0 / 255.0;

void check_pixels(const char* key, std::int64_t pixels) {
  if (pixels < 1 || pixels > kLongestSide) {
    fail("data.preprocess." + std::string(key) + " = " + std::to_string(pixels) +
         " pixels; it must be from 1 to " + std::to_string(kLongestSide));
  }
}

/// One float32 a channel; a single number stands for all channels.
std::vector<float> by_channel(const char* key, const std::vector<double>& given, int channels) {
  if (given.empty()) return {};
  const std::string name = "data.preprocess." + std::string(key);
  if (given.size() != 1 && given.size() != static_cast<std::size_t>(channels)) {
    fail(name + " has " + std::to_string(given.size()) + " values, the images have " +
         std::to_string(channels) + " channels");
  }
  std::vector<float> values(static_cast<std::size_t>(channels));
  for (std::size_t c = 0; c < values.size(); ++c) {
    values[c] = static_cast<float>(given[given.size() == 1 ? 0 : c]);
    if (!std::isfinite(values[c])) fail(name + " must be finite");
  }
  return values;
}

/// torchvision's Resize of the shorter side: height and width, the longer side cut to an integer.
std::array<int, 2> resized(int height, int width, int shorter) {
  const auto longer_side = [shorter](int longest, int shortest) {
    const double size = static_cast<double>(static_cast<std::int64_t>(shorter) * longest) /
                        static_cast<double>(shortest);
    if (size > static_cast<double>(kMaxImagePixels)) {
      fail("resized to " + std::to_string(shorter) + " pixels on the shorter side it is too long");
    }
    return static_cast<int>(size);
  };
  if (width <= height) return {longer_side(height, width), shorter};
  return {shorter, longer_side(width, height)};
}

}  // namespace

std::optional<Interpolation> interpolation_of(const Preprocess& steps) {
  if (!steps.resize) return std::nullopt;
  return steps.interpolation.value_or(Interpolation::kBilinear);
}

Preprocessing::Preprocessing(const Preprocess& steps, int channels)
    : steps_(steps),
      channels_(channels),
      mean_(by_channel("mean", steps.mean, channels)),
      std_(by_channel("std", steps.std, channels)) {
  if (steps_.resize) check_pixels("resize", *steps_.resize);
  if (steps_.resize_width) check_pixels("resize", *steps_.resize_width);
  if (steps_.crop) check_pixels("crop", *steps_.crop);
  if (!std::isfinite(steps_.scale) || static_cast<float>(steps_.scale) == 0.0F) {
    fail("data.preprocess.scale must be finite and not zero in float32");
  }
  if (std::count(std_.begin(), std_.end(), 0.0F) > 0) {
    fail("data.preprocess.std must not be zero in float32");
  }
  levels_.resize(static_cast<std::size_t>(channels));
  for (std::size_t c = 0; c < levels_.size(); ++c) {
    for (std::size_t level = 0; level < 256; ++level) {
      const float pixel = static_cast<float>(level);
      const float scaled =
          steps_.scale == kToTensor ? pixel / 255.0F : pixel * static_cast<float>(steps_.scale);
      levels_[c][level] = normalise(scaled, c);
    }
  }
}

float Preprocessing::normalise(float value, std::size_t channel) const {
  if (!mean_.empty()) value -= mean_[channel];
  if (!std_.empty()) value /= std_[channel];
  return value;
}

std::optional<std::array<std::int64_t, 2>> Preprocessing::fixed_size() const {
  if (steps_.crop) return {{*steps_.crop, *steps_.crop}};
  if (steps_.resize && steps_.resize_width) return {{*steps_.resize, *steps_.resize_width}};
  return std::nullopt;
}

Image Preprocessing::shape(Image image) const {
  image = with_channels(std::move(image), channels_);
  if (steps_.resize) {
    const int shorter = static_cast<int>(*steps_.resize);
    const auto [height, width] =
        steps_.resize_width ? std::array<int, 2>{shorter, static_cast<int>(*steps_.resize_width)}
                            : resized(image.height, image.width, shorter);
    image = resize(image, width, height, *interpolation_of(steps_));
  }
  if (!steps_.crop) return image;
  return centre_crop(image, static_cast<int>(*steps_.crop), static_cast<int>(*steps_.crop));
}

void Preprocessing::scale(const Image& image, std::span<float> out) const {
  const std::size_t channels = levels_.size();
  const std::size_t pixels = image.pixels.size() / channels;
  for (std::size_t c = 0; c < channels; ++c) {
    const std::array<float, 256>& levels = levels_[c];
    for (std::size_t i = 0; i < pixels; ++i) {
      out[c * pixels + i] = levels[image.pixels[i * channels + c]];
    }
  }
}

void Preprocessing::scale(std::span<float> values) const {
  const std::size_t channel_size = values.size() / static_cast<std::size_t>(channels_);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (steps_.scale != kToTensor) values[i] *= static_cast<float>(steps_.scale);
    values[i] = normalise(values[i], i / channel_size);
  }
}

}  // namespace bitfall
