#include "image_cache.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace bitfall {
namespace {

constexpr std::int64_t kMostBytes = std::int64_t{1} << 30;

}  // namespace

at::Tensor ImageCache::image(std::int32_t index) {
  {
    const std::lock_guard lock(mutex_);
    const auto known = images_.find(index);
    if (known != images_.end()) return known->second;
  }
  const auto shape = dataset_.shape();
  at::Tensor image = at::empty({shape[0], shape[1], shape[2]}, at::kFloat);
  dataset_.load(index, {image.data_ptr<float>(), static_cast<std::size_t>(image.numel())});
  const std::lock_guard lock(mutex_);
  const auto bytes = static_cast<std::int64_t>(image.nbytes());
  if (bytes_ + bytes <= kMostBytes && images_.emplace(index, image).second) bytes_ += bytes;
  return image;
}

at::Tensor ImageCache::batch(std::span<const std::int32_t> images) {
  std::vector<at::Tensor> rows;
  for (const std::int32_t index : images) rows.push_back(image(index));
  return at::stack(rows);
}

bool ImageCache::holds(std::int32_t index) {
  const std::lock_guard lock(mutex_);
  return images_.count(index) > 0;
}

void ImageCache::preload(const std::atomic<bool>& stop) {
  for (std::int32_t index = 0; index < dataset_.size() && !stop; ++index) {
    image(index);
    if (!holds(index)) return;
  }
}

at::Tensor images_from(const Dataset& dataset, std::int32_t first, std::int64_t batch) {
  const auto [channels, height, width] = dataset.shape();
  at::Tensor input = at::empty({batch, channels, height, width});
  const auto size = static_cast<std::size_t>(channels * height * width);
  for (std::int64_t row = 0; row < batch; ++row) {
    const std::int32_t image = std::min(first + static_cast<std::int32_t>(row), dataset.size() - 1);
    dataset.load(image, {input.data_ptr<float>() + static_cast<std::size_t>(row) * size, size});
  }
  return input;
}

}  // namespace bitfall
