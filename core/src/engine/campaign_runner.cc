#include "campaign_runner.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <set>
#include <span>

#include "device_access.h"
#include "timer.h"
#include "worker_threads.h"

namespace bitfall {

std::int64_t CampaignRunner::workers_for(std::int64_t chunks) const {
  const bool cpu = workload_.model().device() == "cpu";
  return std::clamp<std::int64_t>(cpu ? options_.workers : 1, 1, chunks);
}

// Enough chunks in a group that the trials of a site fill some passes, as far as all their values
// fit.
Division CampaignRunner::divide(const Plan& plan, std::int64_t trials, std::int64_t chunks) {
  constexpr std::int64_t kPasses = 8;
  std::set<std::int32_t> sites;
  for (const Stratum& stratum : plan.strata()) sites.insert(stratum.site);
  const Model& model = workload_.model();
  Division division;
  division.workers = workers_for(chunks);
  division.budget = options_.memory_bytes() / division.workers;
  const std::int64_t bytes = std::max<std::int64_t>(workload_.step_costs().all_bytes(), 1);
  const std::int64_t fit = model.program().writes_in_place() ? 1 : division.budget / bytes;
  const auto places = static_cast<std::int64_t>(sites.size());
  const std::int64_t wanted =
      trials == 0 ? 1 : kPasses * model.batch() * places * chunks / trials + 1;
  const std::int64_t share = (chunks + division.workers - 1) / division.workers;
  division.group = std::clamp<std::int64_t>(std::min(fit, wanted), 1, share);
  return division;
}

// Tells which trials are run, and how many.
std::int64_t CampaignRunner::deal_trials(const ShardPart& part, CampaignRun& run,
                                         const std::vector<bool>& done) const {
  run.by_chunk.resize(static_cast<std::size_t>(workload_.chunks().count()));
  std::int64_t count = 0;
  part.for_each([&](std::int64_t id, std::int64_t chunk) {
    if (static_cast<std::size_t>(id) < done.size() && done[static_cast<std::size_t>(id)]) return;
    run.by_chunk[static_cast<std::size_t>(chunk)].push_back(id);
    ++count;
  });
  return count;
}

std::vector<std::int64_t> CampaignRunner::wanted_chunks(const ShardPart& part,
                                                        const CampaignRun& run) const {
  std::vector<std::int64_t> chunks;
  for (std::int64_t chunk = 0; chunk < workload_.chunks().count(); ++chunk) {
    const bool wanted = !run.by_chunk[static_cast<std::size_t>(chunk)].empty() ||
                        run.golden_missing(workload_.chunks(), chunk);
    if (wanted && part.touches(chunk)) chunks.push_back(chunk);
  }
  return chunks;
}

bool CampaignRunner::run(const Plan& plan, const std::vector<bool>& done,
                         const std::vector<bool>& golden_done, const Measurer& measurer,
                         ResultSink& sink, const std::atomic<bool>& stop,
                         const std::function<void(const EngineProgress&)>& progress) {
  costs_ = {};
  const Timer total(costs_.total_s);
  std::optional<TrafficCounter> traffic;
  if (options_.count_traffic) traffic.emplace();
  CampaignRun run{plan, golden_done, measurer, sink, stop, progress, {}};
  const ShardPart its = part(plan);
  const std::int64_t trials = deal_trials(its, run, done);
  const std::vector<std::int64_t> chunks = wanted_chunks(its, run);
  if (chunks.empty()) return !stop;

  const auto count = static_cast<std::int64_t>(chunks.size());
  const std::int64_t workers = workers_for(count);
  workload_.measure_on(std::span(chunks).first(static_cast<std::size_t>(workers)),
                       options_.memory_bytes() / workers);
  const Division division = divide(plan, trials, count);
  costs_.workers = division.workers;
  std::atomic<std::int64_t> next = 0;
  const auto work = [&] {
    const c10::InferenceMode guard;
    try {
      Worker worker(workload_, options_, run, division.budget);
      for (std::int64_t at; (at = next.fetch_add(division.group)) < count;) {
        const auto size = static_cast<std::size_t>(std::min(division.group, count - at));
        if (!worker.group(std::span(chunks).subspan(static_cast<std::size_t>(at), size))) break;
      }
      const std::lock_guard lock(run.mutex);
      costs_.add(worker.costs());
    } catch (...) {
      run.failed = true;  // ends the other workers
      throw;
    }
  };
  run_on(division.workers, work);
  if (traffic) {
    costs_.operators = traffic->counted().operators;
    costs_.device_copies = traffic->counted().copies;
    costs_.device_bytes = traffic->counted().bytes;
  }
  return !stop;
}

}  // namespace bitfall
