// How far a run has come, where its time went, and what was saved.
#pragma once

#include <cstdint>

#include "timer.h"

namespace bitfall {

struct EngineProgress {
  std::int64_t done = 0;        // trials stored so far in this call
  std::int64_t mismatches = 0;  // of them, top-1 changed or non-finite
  std::int64_t dues = 0;        // of them, crashed or hung
};

/// Seconds are of one worker after the other: with several workers they add up to more than the
/// run took.
struct EngineCosts {
  double total_s = 0;  // of the clock on the wall
  std::int64_t workers = 1;
  double golden_s = 0;     // golden passes, without formats
  double regions_s = 0;    // windows that faults have reached, without formats
  double suffix_s = 0;     // whole steps after faults, without formats
  double emulation_s = 0;  // putting values through number formats
  double injection_s = 0;  // drawing edits; encoding, editing and decoding hit values
  double results_s = 0;    // metrics and the store
  std::int64_t chunks = 0;
  std::int64_t unchanged = 0;        // trials whose fault changed no value: no run
  std::int64_t shared = 0;           // trials that took the result of one that changed the same
  std::int64_t carried = 0;          // trials carried by windows
  std::int64_t died_in_regions = 0;  // of them, those whose damage was gone on the way
  std::int64_t died = 0;     // trials in passes whose damage was gone before an expensive step
  std::int64_t begun = 0;    // passes, to the end or to where their trials were packed again
  std::int64_t passes = 0;   // passes run to the end
  std::int64_t rows = 0;     // trials in them
  std::int64_t refused = 0;  // steps on windows that gave other bits than whole maps: run whole
  // Of all threads, where they were counted:
  std::int64_t operators = 0;      // calls of LibTorch's operators
  std::int64_t device_copies = 0;  // between host and device
  std::int64_t device_bytes = 0;   // in them

  void add(const EngineCosts& other) {
    golden_s += other.golden_s;
    regions_s += other.regions_s;
    suffix_s += other.suffix_s;
    emulation_s += other.emulation_s;
    injection_s += other.injection_s;
    results_s += other.results_s;
    chunks += other.chunks;
    unchanged += other.unchanged;
    shared += other.shared;
    carried += other.carried;
    died_in_regions += other.died_in_regions;
    died += other.died;
    begun += other.begun;
    passes += other.passes;
    rows += other.rows;
    refused += other.refused;
  }
  /// Those of a run after this one.
  void add_run(const EngineCosts& other) {
    add(other);
    total_s += other.total_s;
    workers = std::max(workers, other.workers);
    operators += other.operators;
    device_copies += other.device_copies;
    device_bytes += other.device_bytes;
  }
};

/// Adds the time until it goes out of scope to one part of the costs, without what formats and
/// results take on the way, which are parts of their own.
class PartTimer {
 public:
  PartTimer(double& part, const EngineCosts& costs)
      : part_(part), costs_(costs), others_(costs.emulation_s + costs.results_s) {}
  ~PartTimer() {
    part_ += seconds_since(start_) - (costs_.emulation_s + costs_.results_s - others_);
  }
  PartTimer(const PartTimer&) = delete;
  PartTimer& operator=(const PartTimer&) = delete;

 private:
  double& part_;
  const EngineCosts& costs_;
  double others_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace bitfall
