// One thread's share of a run: works through groups of chunks, site by site in network order.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine_costs.h"
#include "engine_options.h"
#include "flight.h"
#include "guarding.h"
#include "measurer.h"
#include "outcome.h"
#include "passes.h"
#include "plan.h"
#include "regions.h"
#include "workload.h"

namespace bitfall {

/// What the workers of a run share.
struct CampaignRun {
  const Plan& plan;
  const std::vector<bool>& golden_done;  // by image
  const Measurer& measurer;
  ResultSink& sink;
  const std::atomic<bool>& stop;
  const std::function<void(const EngineProgress&)>& progress;
  std::vector<std::vector<std::int64_t>> by_chunk;  // trials to run, by rising number
  std::mutex mutex = {};                            // of the sink, the count and progress
  EngineProgress count = {};
  std::atomic<bool> failed = false;

  bool stopped() const { return stop || failed; }
  /// Whether some image of the chunk has no golden result yet.
  bool golden_missing(const ImageChunks& chunks, std::int64_t chunk) const;
};

/// A trial of a group of chunks, in the order of its images. Eight bytes, as a site may have a
/// hundred million of them.
class GroupTrial {
 public:
  /// `image`: counted from the group's first.
  GroupTrial(std::int64_t image, std::int64_t id)
      : word_(static_cast<std::uint64_t>(image) << kIdBits | static_cast<std::uint64_t>(id)) {}
  std::int64_t id() const { return static_cast<std::int64_t>(word_ & ((kOne << kIdBits) - 1)); }
  auto operator<=>(const GroupTrial&) const = default;

 private:
  static constexpr int kIdBits = 34;  // a plan has at most 1e10 trials
  static constexpr std::uint64_t kOne = 1;
  std::uint64_t word_;
};

class Worker {
 public:
  /// Borrows workload, options and run. `budget`: bytes for golden values beyond what a bare pass
  /// needs.
  Worker(Workload& workload, const EngineOptions& options, CampaignRun& run, std::int64_t budget);

  /// Runs the trials of these chunks. False if stopped.
  bool group(std::span<const std::int64_t> chunks);

  const EngineCosts& costs() const { return costs_; }

 private:
  // The trials that change the same as one that is run.
  using Twins = std::map<const Flight*, std::vector<Flight*>>;
  // One that is taken up again when its site is done, and its twins.
  struct Kept {
    Flight flight;
    std::vector<Flight> twins;
  };
  // An answer after the protection.
  struct Guarded {
    std::span<const float> answer;
    bool detected = false;
    bool again = false;
  };

  void store_golden(const GoldenChunk& golden);
  void check_golden(const GoldenChunk& golden) const;
  bool site(std::int32_t site, std::vector<GroupTrial> trials, std::span<GoldenChunk> goldens,
            int next);
  bool slice(std::int32_t site, std::span<const GroupTrial> trials, std::span<GoldenChunk> goldens,
             int others);
  std::vector<Flight> inject_all(std::int32_t site, std::span<const Trial> trials,
                                 std::span<GoldenChunk> goldens);
  void inject_chunk(std::int32_t site, std::span<const Trial> trials, const GoldenChunk& golden,
                    std::vector<Flight>& flights);
  void redraw(Flight& one, std::span<const float> slab,
              const std::function<Injection(std::span<const Edit>)>& injected) const;
  void add_condition(const Flight& one, std::vector<double>& metrics) const;
  void compare_twice(std::int32_t site, Flight& one) const;
  bool transient(const Trial& trial) const;
  Guarded guard_answer(const Flight& one, std::span<const float> faulty);
  std::optional<std::vector<std::int64_t>> places_read(std::int32_t site,
                                                       std::span<const Trial> trials,
                                                       std::span<const std::vector<Edit>> edits,
                                                       std::int64_t most) const;
  std::vector<Flight*> distinct(std::span<Flight> flights, Twins& twins);
  void for_twins(const Flight& one, const Twins& twins,
                 const std::function<void(Flight&)>& tell) const;
  Flight* keep(Flight& one, Twins& twins);
  bool fly(std::int32_t site, std::vector<Flight*> flights, Twins& twins, int others);
  bool pass_through(std::int32_t site, std::vector<Flight*> flights, int others,
                    const PassReport& report);
  TrialResult result_of(const Flight& one) const;
  TrialResult result_of(const Flight& one, std::span<const float> faulty);
  void finish(const Flight& one, std::span<const float> faulty);
  void fail(const Flight& one, Outcome outcome, const std::string& message);
  void store(const TrialResult& result);
  void tell();

  Workload& workload_;
  const EngineOptions& options_;
  CampaignRun& run_;
  std::int64_t budget_;
  EngineCosts costs_;
  Regions regions_;
  Passes passes_;
  std::map<const Flight*, std::unique_ptr<Kept>> kept_;
  std::vector<std::uint32_t> scratch_;  // of inject()
  std::vector<float> answer_;           // of guard_answer()
  std::vector<float> slab_;             // of a value on a device: what inject() reads of it
};

}  // namespace bitfall
