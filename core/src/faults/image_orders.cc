#include "image_orders.h"

#include <algorithm>
#include <utility>

#include "philox.h"

namespace bitfall {
namespace {

constexpr std::size_t kNodeBytes = 160;  // of a list node and a map entry, roughly

/// Orders of two strata or rounds with one id, which are as good as impossible, would harm nothing.
std::uint64_t order_id(std::uint64_t stratum, std::int64_t round) {
  return stratum + static_cast<std::uint64_t>(round) * 0x9E3779B97F4A7C15U;  // 2^64 / golden ratio
}

}  // namespace

ImageOrders::ImageOrders(std::uint64_t seed, ImageChunks chunks, std::size_t keep)
    : seed_(seed), chunks_(std::move(chunks)), keep_(keep) {}

std::vector<std::int32_t> ImageOrders::fresh_order(std::uint64_t id) const {
  PhiloxStream random(seed_, RandomDomain::kImageOrder, id);
  std::vector<std::int32_t> order;
  order.reserve(static_cast<std::size_t>(chunks_.images()));
  for (const std::int32_t chunk :
       random_order(static_cast<std::int32_t>(chunks_.count()), random)) {
    for (const std::int32_t row :
         random_order(static_cast<std::int32_t>(chunks_.size(chunk)), random)) {
      order.push_back(chunks_.image(chunk, row));
    }
  }
  return order;
}

std::size_t ImageOrders::bytes(const Order& order) {
  return order.images.capacity() * sizeof(std::int32_t) + kNodeBytes;
}

void ImageOrders::forget_oldest() const {
  kept_ -= bytes(orders_.back());
  place_.erase(orders_.back().id);
  orders_.pop_back();
}

std::int32_t ImageOrders::image(std::uint64_t stratum, std::int64_t index,
                                std::int64_t trials) const {
  const std::int32_t images = chunks_.images();
  if (images == 1) return 0;
  const std::int64_t round = index / images;
  const auto position = static_cast<std::size_t>(index % images);
  const std::uint64_t id = order_id(stratum, round);

  const std::lock_guard lock(mutex_);
  const auto found = place_.find(id);
  if (found != place_.end() && position < found->second->images.size()) {
    orders_.splice(orders_.begin(), orders_, found->second);
    return found->second->images[position];
  }
  std::vector<std::int32_t> order = fresh_order(id);
  const std::int64_t needed = std::min<std::int64_t>(images, trials - round * images);
  order.resize(std::max<std::size_t>(static_cast<std::size_t>(needed), position + 1));
  order.shrink_to_fit();
  const std::int32_t image = order[position];
  if (found != place_.end()) {  // ids that come again may need different lengths
    kept_ -= bytes(*found->second);
    orders_.erase(found->second);
    place_.erase(found);
  }
  orders_.push_front({id, std::move(order)});
  place_.emplace(id, orders_.begin());
  kept_ += bytes(orders_.front());
  while (kept_ > keep_ && orders_.size() > 1) forget_oldest();
  return image;
}

}  // namespace bitfall
