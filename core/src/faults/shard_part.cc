#include "shard_part.h"

#include <algorithm>

namespace bitfall {
namespace {

/// Place where the piece after `pieces` of `count` begins: trials * pieces / count, which may not
/// fit into 64 bits on the way.
std::int64_t border(std::int64_t trials, std::int64_t pieces, std::int64_t count) {
  const std::int64_t whole = trials / count, rest = trials % count;
  return whole * pieces + std::min(rest, pieces);
}

}  // namespace

ShardPart::ShardPart(const Plan& plan, const ImageChunks& chunks, const Shard& shard)
    : plan_(plan),
      chunks_(chunks),
      shard_(shard),
      first_(border(plan.size(), shard.index - 1, shard.count)),
      last_(border(plan.size(), shard.index, shard.count)) {
  if (shard.count == 1) return;
  starts_.assign(static_cast<std::size_t>(chunks.count()) + 1, 0);
  for (std::int64_t id = 0; id < plan.size(); ++id) {
    ++starts_[static_cast<std::size_t>(chunks.chunk_of(plan.trial(id).image)) + 1];
  }
  for (std::size_t i = 1; i < starts_.size(); ++i) starts_[i] += starts_[i - 1];
}

bool ShardPart::touches(std::int64_t chunk) const {
  if (shard_.count == 1) return true;
  const std::int64_t from = start(chunk), to = start(chunk + 1);
  if (from < to) return std::max(from, first_) < std::min(to, last_);
  // Without trials: in the piece that goes on there, or the last one at the end of the line.
  if (from == plan_.size()) return shard_.index == shard_.count;
  return first_ <= from && from < last_;
}

void ShardPart::for_each(
    const std::function<void(std::int64_t trial, std::int64_t chunk)>& f) const {
  std::vector<std::int64_t> next(starts_.begin(), starts_.end());
  for (std::int64_t id = 0; id < plan_.size(); ++id) {
    const std::int64_t chunk = chunks_.chunk_of(plan_.trial(id).image);
    if (shard_.count > 1) {
      const std::int64_t place = next[static_cast<std::size_t>(chunk)]++;
      if (place < first_ || place >= last_) continue;
    }
    f(id, chunk);
  }
}

}  // namespace bitfall
