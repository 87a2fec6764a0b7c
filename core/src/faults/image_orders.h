// The random orders in which the strata of a plan meet the images: computed when asked for, the
// last used ones kept.
#pragma once

#include <cstdint>
#include <list>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "image_chunks.h"

namespace bitfall {

/// Thread-safe. The answers are a function of the arguments alone, whatever is kept.
class ImageOrders {
 public:
  /// `keep` bytes are used at most (but one order is always kept).
  ImageOrders(std::uint64_t seed, ImageChunks chunks, std::size_t keep = std::size_t{64} << 20);

  /// The image that trial `index` (from 0) of the stratum with this key meets. Round after round
  /// each image comes once, in a fresh order: the chunks in random order, and the images of a chunk
  /// one after the other in random order, so that the passes of an unfinished round are full too.
  /// `trials` is the stratum's number of trials, so that no more than the needed part of an order
  /// is kept.
  std::int32_t image(std::uint64_t stratum, std::int64_t index, std::int64_t trials) const;

 private:
  struct Order {
    std::uint64_t id;
    std::vector<std::int32_t> images;
  };
  using Orders = std::list<Order>;
  std::vector<std::int32_t> fresh_order(std::uint64_t id) const;
  static std::size_t bytes(const Order& order);
  void forget_oldest() const;

  const std::uint64_t seed_;
  const ImageChunks chunks_;
  const std::size_t keep_;
  mutable std::mutex mutex_;
  mutable Orders orders_;                                              // last used first
  mutable std::unordered_map<std::uint64_t, Orders::iterator> place_;  // by id
  mutable std::size_t kept_ = 0;                                       // bytes
};

}  // namespace bitfall
