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
  count_rounds();
  for (const Rounds& rounds : rounds_) {
    for (std::int64_t chunk = 0; chunk < chunks.count(); ++chunk) {
      starts_[static_cast<std::size_t>(chunk) + 1] += trials_of(rounds, chunk);
    }
  }
  for (std::int64_t id = 0; rounds_.empty() && id < plan.size(); ++id) {
    ++starts_[static_cast<std::size_t>(chunks.chunk_of(plan.trial(id).image)) + 1];
  }
  for (std::size_t i = 1; i < starts_.size(); ++i) starts_[i] += starts_[i - 1];
}

// So that a shard of a thousand million trials need not look at all of them.
void ShardPart::count_rounds() {
  std::int64_t first = 0;
  for (const Stratum& stratum : plan_.strata()) {
    if (stratum.trials == 0) continue;
    // Of a list, or of `total`: no rounds that stand together.
    if (stratum.population == 0 || stratum.mixed) return rounds_.clear();
    Rounds rounds{first, stratum.trials,
                  std::vector<std::int32_t>(static_cast<std::size_t>(chunks_.count()), 0)};
    const std::int64_t end = first + stratum.trials;
    for (std::int64_t id = end - stratum.trials % chunks_.images(); id < end; ++id) {
      ++rounds.rest[static_cast<std::size_t>(chunks_.chunk_of(plan_.trial(id).image))];
    }
    rounds_.push_back(std::move(rounds));
    first = end;
  }
  if (first != plan_.size()) rounds_.clear();
}

std::int64_t ShardPart::trials_of(const Rounds& rounds, std::int64_t chunk) const {
  return rounds.trials / chunks_.images() * chunks_.size(chunk) +
         rounds.rest[static_cast<std::size_t>(chunk)];
}

/// place: of the site's first trial in the chunk.
void ShardPart::for_each_of(
    const Rounds& rounds, std::int64_t chunk, std::int64_t place,
    const std::function<void(std::int64_t trial, std::int64_t chunk)>& f) const {
  const std::int64_t skipped = std::max<std::int64_t>(first_ - place, 0) / chunks_.size(chunk);
  place += skipped * chunks_.size(chunk);
  const std::int64_t end = rounds.first + rounds.trials;
  for (std::int64_t id = rounds.first + skipped * chunks_.images(); id < end && place < last_;
       ++id) {
    if (chunks_.chunk_of(plan_.trial(id).image) != chunk) continue;
    if (place >= first_ && place < last_) f(id, chunk);
    ++place;
  }
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
  for (std::int64_t chunk = 0; !rounds_.empty() && chunk < chunks_.count(); ++chunk) {
    std::int64_t place = start(chunk);
    for (const Rounds& rounds : rounds_) {
      const std::int64_t trials = trials_of(rounds, chunk);
      if (place < last_ && place + trials > first_) for_each_of(rounds, chunk, place, f);
      place += trials;
    }
  }
  if (!rounds_.empty()) return;
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
