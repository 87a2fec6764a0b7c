// Divides a campaign among workers and runs it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "engine_costs.h"
#include "engine_options.h"
#include "measurer.h"
#include "outcome.h"
#include "plan.h"
#include "shard.h"
#include "shard_part.h"
#include "worker.h"
#include "workload.h"

namespace bitfall {

/// How a run is divided.
struct Division {
  std::int64_t workers = 1;
  std::int64_t group = 1;   // chunks that a worker works through together
  std::int64_t budget = 0;  // bytes of golden values for each worker
};

class CampaignRunner {
 public:
  /// Borrows workload and options. Runs the shard's part of campaigns.
  CampaignRunner(Workload& workload, const EngineOptions& options, const Shard& shard)
      : workload_(workload), options_(options), shard_(shard) {}

  /// As Engine::run.
  bool run(const Plan& plan, const std::vector<bool>& done, const std::vector<bool>& golden_done,
           const Measurer& measurer, ResultSink& sink, const std::atomic<bool>& stop,
           const std::function<void(const EngineProgress&)>& progress);

  /// Of the last run().
  const EngineCosts& costs() const { return costs_; }

  /// The trials of the plan that run() sees to.
  ShardPart part(const Plan& plan) const { return {plan, workload_.chunks(), shard_}; }
  /// For so many trials in so many chunks, of which there is at least one.
  Division divide(const Plan& plan, std::int64_t trials, std::int64_t chunks);

 private:
  std::int64_t workers_for(std::int64_t chunks) const;
  std::int64_t deal_trials(const ShardPart& part, CampaignRun& run,
                           const std::vector<bool>& done) const;
  std::vector<std::int64_t> wanted_chunks(const ShardPart& part, const CampaignRun& run) const;

  Workload& workload_;
  const EngineOptions& options_;
  Shard shard_;
  EngineCosts costs_;
};

}  // namespace bitfall
