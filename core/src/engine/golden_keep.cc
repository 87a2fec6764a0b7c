#include "golden_keep.h"

#include <ATen/core/Tensor.h>

namespace bitfall {

void GoldenKeep::put(std::int64_t chunk, const Slots& slots, std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes_ + bytes > room_ || chunks_.count(chunk) > 0) return;
  chunks_[chunk] = std::make_shared<const Slots>(slots);
  bytes_ += bytes;
}

std::shared_ptr<const Slots> GoldenKeep::of(std::int64_t chunk) const {
  const std::lock_guard lock(mutex_);
  const auto known = chunks_.find(chunk);
  return known == chunks_.end() ? nullptr : known->second;
}

}  // namespace bitfall
