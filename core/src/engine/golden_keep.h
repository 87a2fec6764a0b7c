// Fault-free values that outlive their group of chunks: a run with a protection begins from those
// of the run without, and computes only what its guards change; so does a further round of trials.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "emulated_model.h"
#include "steps.h"

namespace bitfall {

/// Thread-safe.
class GoldenKeep {
 public:
  /// Borrows the model that makes the values, without a protection. room: bytes that they may take.
  GoldenKeep(const EmulatedModel& model, std::int64_t room) : model_(model), room_(room) {}

  const EmulatedModel& model() const { return model_; }
  /// Keeps what all steps of a chunk's pass have read and made, if there is room for it.
  void put(std::int64_t chunk, const Slots& slots, std::int64_t bytes);
  /// Null where nothing is kept of the chunk. Not to be written to.
  std::shared_ptr<const Slots> of(std::int64_t chunk) const;

 private:
  const EmulatedModel& model_;
  const std::int64_t room_;
  mutable std::mutex mutex_;  // of both below
  std::map<std::int64_t, std::shared_ptr<const Slots>> chunks_;
  std::int64_t bytes_ = 0;
};

}  // namespace bitfall
