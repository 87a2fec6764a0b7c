#include "image_chunks.h"

#include <algorithm>

#include "philox.h"

namespace bitfall {

ImageChunks::ImageChunks(std::uint64_t seed, std::int32_t images, std::int64_t batch)
    : batch_(batch), place_(static_cast<std::size_t>(images)) {
  PhiloxStream random(seed, RandomDomain::kImageChunk, 0);
  order_ = random_order(images, random);
  for (std::size_t i = 0; i < order_.size(); ++i) {
    place_[static_cast<std::size_t>(order_[i])] = static_cast<std::int32_t>(i);
  }
}

std::int64_t ImageChunks::size(std::int64_t chunk) const {
  return std::min<std::int64_t>(batch_, images() - chunk * batch_);
}

std::int32_t ImageChunks::image(std::int64_t chunk, std::int64_t row) const {
  return order_[static_cast<std::size_t>(chunk * batch_ + row % size(chunk))];
}

std::vector<std::int32_t> ImageChunks::images(std::int64_t chunk) const {
  std::vector<std::int32_t> rows;
  for (std::int64_t row = 0; row < batch_; ++row) rows.push_back(image(chunk, row));
  return rows;
}

}  // namespace bitfall
