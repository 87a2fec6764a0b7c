// The declared preprocessing of one image: 8-bit pixels, or a float32 array, to the network's
// input.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "data_config.h"
#include "image.h"

namespace bitfall {

/// How images are resized; nothing where they are not.
std::optional<Interpolation> interpolation_of(const Preprocess& steps);

/// Bit-equal to torchvision on PIL images: Resize, CenterCrop, ToTensor (float32 division by 255),
/// Normalize with float32 mean and std. Thread-safe.
class Preprocessing {
 public:
  /// `channels` of the network's input. Throws Error(kInput) naming the key that is wrong.
  Preprocessing(const Preprocess& steps, int channels);

  /// Height and width after resize and crop of every image; nothing if they depend on the image.
  std::optional<std::array<std::int64_t, 2>> fixed_size() const;

  /// Colour conversion, resize and crop. Throws Error(kInput), without a path, when the result is
  /// too large.
  Image shape(Image image) const;

  /// Scale and normalise: `image` as `shape` gives it -> C*H*W floats.
  void scale(const Image& image, std::span<float> out) const;

  /// Scale and normalise a [C, H, W] array in place. The default scale of 1/255 is for 8-bit pixels
  /// and leaves a float array as it is, as ToTensor does; any other scale is a factor.
  void scale(std::span<float> values) const;

 private:
  float normalise(float value, std::size_t channel) const;

  Preprocess steps_;
  int channels_;
  std::vector<float> mean_;  // a value a channel, or empty
  std::vector<float> std_;
  std::vector<std::array<float, 256>> levels_;  // [channel][8-bit level]: the float that it becomes
};

}  // namespace bitfall
