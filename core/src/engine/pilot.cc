#include "pilot.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "campaign_runner.h"
#include "engine.h"
#include "outcome.h"
#include "passes.h"
#include "program.h"

namespace bitfall {
namespace {

constexpr double kPilotSeconds = 8;

class Nowhere : public ResultSink {
 public:
  void golden(const GoldenResult&) override {}
  void trial(const TrialResult&) override {}
};

// A weight fault runs by itself up to here, where its pass may be joined with others'.
int first_cut(const Workload& workload, const EngineOptions& options, int from) {
  const auto& steps = workload.model().program().steps();
  if (!options.early_stop) return static_cast<int>(steps.size());
  const auto cut = std::find_if(steps.begin() + from + 1, steps.end(), is_expensive);
  return static_cast<int>(cut - steps.begin());
}

// More than a plan will take: every trial in a pass that runs to the end.
double bound_seconds(Workload& workload, const EngineOptions& options, const Plan& plan) {
  const StepCosts& pass = workload.step_costs();
  const auto chunks = static_cast<double>(workload.chunks().count());
  double seconds = 2 * pass.seconds_from(0) * chunks;
  for (const Stratum& stratum : plan.strata()) {
    const int from = options.suffix ? workload.model().first_step(stratum.site) : 0;
    const auto trials = static_cast<double>(stratum.trials);
    const double full = std::ceil(trials / static_cast<double>(workload.model().batch()));
    if (!workload.model().is_weight(stratum.site)) {
      seconds += full * pass.seconds_from(from);
      continue;
    }
    const int cut = first_cut(workload, options, from);
    const double alone = stratum.permanent ? trials / workload.dataset().size() * chunks : trials;
    seconds += alone * (pass.seconds_from(from) - pass.seconds_from(cut)) +
               std::min(alone, full) * pass.seconds_from(cut);
  }
  return seconds;
}

// A part of a campaign that a worker would run as one group, thinned out where that would take too
// long.
class Pilot {
 public:
  // Seconds of the whole campaign at most: `bound`.
  Pilot(Workload& workload, const EngineOptions& options, const Shard& shard, const Plan& plan,
        double bound);

  // Seconds that the shard's part will take, but for rounding. Nothing if `stop` became true.
  std::optional<double> estimate(const Measurer& measurer, const std::atomic<bool>& stop);

 private:
  static EngineOptions with_one_worker(EngineOptions options) {
    options.workers = 1;
    return options;
  }
  void take_chunks(const std::vector<std::int64_t>& chunks);
  // How many of the trials every n-th is.
  std::int64_t count(std::int64_t every) const {
    return (static_cast<std::int64_t>(ids_.size()) + every - 1) / every;
  }
  // Seconds of the golden passes and of every n-th trial; none if 0.
  std::optional<double> timed(std::int64_t every, const Measurer& measurer,
                              const std::atomic<bool>& stop);

  Workload& workload_;
  EngineOptions options_;
  const Plan& plan_;
  CampaignRunner runner_;
  std::int64_t trials_ = 0, chunks_ = 0;  // of the shard
  Division division_;                     // of the campaign's run
  std::int64_t group_ = 0;                // chunks that are run here
  std::int64_t stride_ = 1;               // of their trials, one of so many
  std::vector<std::int64_t> ids_;         // of their trials
  std::vector<bool> golden_done_;         // by image: all but theirs
};

Pilot::Pilot(Workload& workload, const EngineOptions& options, const Shard& shard, const Plan& plan,
             double bound)
    : workload_(workload),
      options_(with_one_worker(options)),
      plan_(plan),
      runner_(workload, options_, shard) {
  CampaignRunner campaign(workload, options, shard);
  std::vector<std::int64_t> chunks;
  const ShardPart part = campaign.part(plan);
  for (std::int64_t chunk = 0; chunk < workload.chunks().count(); ++chunk) {
    if (part.touches(chunk)) chunks.push_back(chunk);
  }
  trials_ = part.trials();
  chunks_ = static_cast<std::int64_t>(chunks.size());
  division_ = campaign.divide(plan, trials_, chunks_);
  const double golden_s = std::max(workload.step_costs().seconds_from(0), 1e-9);
  group_ = std::clamp<std::int64_t>(static_cast<std::int64_t>(kPilotSeconds / 2 / golden_s), 1,
                                    division_.group);
  const double share = static_cast<double>(group_) / static_cast<double>(workload.chunks().count());
  stride_ = std::max<std::int64_t>(1, static_cast<std::int64_t>(bound * share / kPilotSeconds));
  chunks.resize(static_cast<std::size_t>(group_));
  take_chunks(chunks);
}

void Pilot::take_chunks(const std::vector<std::int64_t>& chunks) {
  const ImageChunks& all = workload_.chunks();
  std::vector<bool> taken(static_cast<std::size_t>(all.count()), false);
  golden_done_.assign(static_cast<std::size_t>(workload_.dataset().size()), true);
  for (const std::int64_t chunk : chunks) {
    taken[static_cast<std::size_t>(chunk)] = true;
    for (std::int64_t row = 0; row < all.size(chunk); ++row) {
      golden_done_[static_cast<std::size_t>(all.image(chunk, row))] = false;
    }
  }
  for (std::int64_t id = 0; id < plan_.size(); ++id) {
    const std::int64_t chunk = all.chunk_of(plan_.trial(id).image);
    if (taken[static_cast<std::size_t>(chunk)]) ids_.push_back(id);
  }
}

std::optional<double> Pilot::timed(std::int64_t every, const Measurer& measurer,
                                   const std::atomic<bool>& stop) {
  std::vector<bool> done(static_cast<std::size_t>(plan_.size()), true);
  for (std::size_t i = 0; every > 0 && i < ids_.size(); i += static_cast<std::size_t>(every)) {
    done[static_cast<std::size_t>(ids_[i])] = false;
  }
  Nowhere nowhere;
  if (!runner_.run(plan_, done, golden_done_, measurer, nowhere, stop, nullptr)) {
    return std::nullopt;
  }
  return runner_.costs().total_s;
}

// Where trials are left out, windows are tried out for few of them: what the second half of those
// that are run adds is then what a trial costs, and the rest is spent once.
std::optional<double> Pilot::estimate(const Measurer& measurer, const std::atomic<bool>& stop) {
  const auto images_s = timed(0, measurer, stop);
  const auto half_s = images_s && stride_ > 1 ? timed(2 * stride_, measurer, stop) : images_s;
  const auto full_s = half_s ? timed(stride_, measurer, stop) : std::nullopt;
  if (!full_s) return std::nullopt;
  const auto run = static_cast<double>(count(stride_));
  const auto half = static_cast<double>(count(2 * stride_));
  const double took = std::max(0.0, *full_s - *images_s);
  double per_trial = run > 0 ? took / run : 0;
  if (stride_ > 1 && run > half) {
    per_trial = std::clamp((*full_s - *half_s) / (run - half), 0.0, per_trial);
  }
  const double once = took - per_trial * run;
  const double all_images_s =
      *images_s * static_cast<double>(chunks_) / static_cast<double>(group_);
  return once + (all_images_s + per_trial * static_cast<double>(trials_)) /
                    static_cast<double>(division_.workers);
}

}  // namespace

std::optional<double> estimate_seconds(Workload& workload, const EngineOptions& options,
                                       const Shard& shard, const Plan& plan,
                                       const Measurer& measurer, const std::atomic<bool>& stop) {
  const double bound = bound_seconds(workload, options, plan);
  const double part = bound / static_cast<double>(shard.count);
  if (ShardPart(plan, workload.chunks(), shard).trials() == 0) return 0;
  if (plan.size() > kMostPiloted) return part;
  const auto estimate = Pilot(workload, options, shard, plan, bound).estimate(measurer, stop);
  return estimate ? std::optional(std::min(part, *estimate)) : std::nullopt;
}

}  // namespace bitfall
