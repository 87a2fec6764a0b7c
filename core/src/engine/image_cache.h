// Images as tensors: those of a campaign, kept while they fit into 1 GiB, and passes over a
// dataset.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>

#include "dataset.h"

namespace bitfall {

/// Thread-safe.
class ImageCache {
 public:
  /// Borrows the dataset.
  explicit ImageCache(const Dataset& dataset) : dataset_(dataset) {}

  /// An image [C, H, W] on the CPU, not to be written to.
  at::Tensor image(std::int32_t index);
  /// A batch [images, C, H, W] on the CPU.
  at::Tensor batch(std::span<const std::int32_t> images);
  /// Decodes image after image until no more can be kept, so that a broken one is found early.
  void preload(const std::atomic<bool>& stop);

 private:
  bool holds(std::int32_t index);

  const Dataset& dataset_;
  std::mutex mutex_;  // of all below
  std::map<std::int32_t, at::Tensor> images_;
  std::int64_t bytes_ = 0;
};

/// A batch [batch, C, H, W] on the CPU, kept by nobody: the images from `first` on; the rows behind
/// the last image hold it again.
at::Tensor images_from(const Dataset& dataset, std::int32_t first, std::int64_t batch);

}  // namespace bitfall
