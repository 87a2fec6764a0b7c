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
  /// Every trial of the piece with its chunk; those of a chunk by number.
  void for_each(const std::function<void(std::int64_t trial, std::int64_t chunk)>& f) const;

 private:
  /// Of a plan without `total`: a site's trials, which meet every image once per round of so many.
  struct Rounds {
    std::int64_t first = 0, trials = 0;  // ids
    std::vector<std::int32_t> rest;      // by chunk: trials of the last round, which is unfinished
  };
  void count_rounds();
  std::int64_t trials_of(const Rounds& rounds, std::int64_t chunk) const;
  void for_each_of(const Rounds& rounds, std::int64_t chunk, std::int64_t place,
                   const std::function<void(std::int64_t trial, std::int64_t chunk)>& f) const;
  std::int64_t start(std::int64_t chunk) const { return starts_[static_cast<std::size_t>(chunk)]; }

  const Plan& plan_;
  const ImageChunks& chunks_;
  Shard shard_;
  std::vector<Rounds> rounds_;         // empty: a list, or `total`, of which all trials are looked at
  std::vector<std::int64_t> starts_;   // place of each chunk's first trial, then of the end
  std::int64_t first_ = 0, last_ = 0;  // places
};

}  // namespace bitfall
