// Which trials of a plan a shard runs.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "image_chunks.h"
#include "plan.h"
#include "shard.h"

namespace bitfall {

/// The trials stand in one line, chunk of images after chunk, in a chunk by their numbers (so site
/// after site); a shard is the I-th of N pieces of it, all of one length but for one trial. So any
/// number of shards may be made, and only the chunks at a piece's two ends are computed twice. A
/// function of the arguments alone.
class ShardPart {
 public:
  ShardPart(const Plan& plan, const ImageChunks& chunks, const Shard& shard);

  std::int64_t trials() const { return last_ - first_; }
  /// Whether it sees to a chunk's fault-free answers: it has trials there, or nobody has any and
  /// the chunk stands in its piece.
  bool touches(std::int64_t chunk) const;
  /// Every trial of the piece with its chunk, by number.
  void for_each(const std::function<void(std::int64_t trial, std::int64_t chunk)>& f) const;

 private:
  std::int64_t start(std::int64_t chunk) const { return starts_[static_cast<std::size_t>(chunk)]; }

  const Plan& plan_;
  const ImageChunks& chunks_;
  Shard shard_;
  std::vector<std::int64_t> starts_;   // place of each chunk's first trial, then of the end
  std::int64_t first_ = 0, last_ = 0;  // places
};

}  // namespace bitfall
