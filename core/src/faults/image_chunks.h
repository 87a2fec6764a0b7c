// How the images are dealt into chunks of `batch`: which images share a pass, and in which row.
#pragma once

#include <cstdint>
#include <vector>

namespace bitfall {

/// A random deal, so that a chunk is a random sample of the data (folders come sorted by class). A
/// function of the arguments alone.
class ImageChunks {
 public:
  ImageChunks(std::uint64_t seed, std::int32_t images, std::int64_t batch);

  std::int32_t images() const { return static_cast<std::int32_t>(order_.size()); }
  std::int64_t count() const { return (images() + batch_ - 1) / batch_; }
  /// Images of a chunk: `batch`, or fewer in the last one.
  std::int64_t size(std::int64_t chunk) const;
  /// The last chunk's free rows hold its images over again, so that every pass has the same shape.
  std::int32_t image(std::int64_t chunk, std::int64_t row) const;
  /// By row: `batch` of them.
  std::vector<std::int32_t> images(std::int64_t chunk) const;
  std::int64_t chunk_of(std::int32_t image) const { return place(image) / batch_; }
  std::int64_t row_of(std::int32_t image) const { return place(image) % batch_; }

 private:
  std::int64_t place(std::int32_t image) const { return place_[static_cast<std::size_t>(image)]; }

  std::int64_t batch_;
  std::vector<std::int32_t> order_;  // images by place
  std::vector<std::int32_t> place_;  // by image
};

}  // namespace bitfall
