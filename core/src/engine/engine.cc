#include "engine.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "campaign_runner.h"
#include "class_counts.h"
#include "error.h"
#include "pilot.h"
#include "profile.h"
#include "sandbox.h"
#include "site_values.h"
#include "worker.h"
#include "workload.h"

namespace bitfall {
namespace {

class OneResult : public ResultSink {
 public:
  void golden(const GoldenResult&) override {}
  void trial(const TrialResult& trial) override { result = trial; }
  TrialResult result;
};

}  // namespace

struct Engine::State {
  EngineOptions options;
  Workload workload;
  Shard shard;
  EngineCosts costs;                        // of the last run
  std::vector<std::vector<Range>> learned;  // by site, of the last profile()

  State(const Model& model, const Dataset& dataset, const SiteFormats& formats, EngineOptions given)
      : options(std::move(given)), workload(model, dataset, formats, options) {}
};

Engine::Engine(const Model& model, const Dataset& dataset, const SiteFormats& formats,
               EngineOptions options)
    : state_(std::make_unique<State>(model, dataset, formats, std::move(options))) {
  if (model.classes() <= 0) throw Error(ExitCode::kInput, "the model gives no logits");
}

Engine::~Engine() = default;

const EmulatedModel& Engine::emulated() const { return state_->workload.emulated(); }

const std::vector<SiteProfile>& Engine::profiles() const {
  return state_->workload.emulated().profiles();
}

void Engine::set_profiles(std::vector<SiteProfile> profiles) {
  const c10::InferenceMode guard;
  state_->workload.set_profiles(std::move(profiles));
}

std::int64_t Engine::images_to_profile(std::int64_t most_images, const Dataset* others) const {
  return Profiler(state_->workload, state_->options, most_images, others).images();
}

bool Engine::profile(const std::atomic<bool>& stop, const std::function<void(std::int64_t)>& tick,
                     std::int64_t most_images, const Dataset* others) {
  const c10::InferenceMode guard;
  Profiler profiler(state_->workload, state_->options, most_images, others);
  auto profiles = profiler.profile(stop, tick);
  if (!profiles) return false;
  state_->learned = profiler.ranges();
  state_->workload.set_profiles(std::move(*profiles));
  return true;
}

std::int32_t Engine::site_calibrated_otherwise(const Engine& other) const {
  const auto& learned = other.state_->learned;
  for (std::size_t index = learned.size(); index-- > 0;) {
    if (learned[index].empty()) continue;
    const auto site = static_cast<std::int32_t>(index);
    const std::vector<std::uint32_t>& then = other.profiles()[index].metadata;
    std::vector<std::uint32_t> now(then.size());
    emulated().formats().of(site).calibrate(learned[index],
                                            state_->workload.model().sites()[index].shape, now);
    if (now != then) return site;
  }
  return -1;
}

bool Engine::count_values(const std::atomic<bool>& stop,
                          const std::function<void(std::int64_t)>& tick) {
  const c10::InferenceMode guard;
  const EngineOptions& options = state_->options;
  auto counts = bitfall::count_values(state_->workload, options.counted_sites, options.counted_bits,
                                      stop, tick);
  if (!counts) return false;
  std::vector<SiteProfile> profiles = this->profiles();
  for (std::size_t i = 0; i < counts->size(); ++i) {
    profiles[static_cast<std::size_t>(options.counted_sites[i])].values = std::move((*counts)[i]);
  }
  state_->workload.set_profiles(std::move(profiles));
  return true;
}

bool Engine::site_values(std::int32_t site, std::int32_t images, bool with_codes,
                         const std::atomic<bool>& stop, const TakeValues& take,
                         const std::function<void(std::int64_t)>& tick) {
  const c10::InferenceMode guard;
  return show_site_values(state_->workload, site, images, with_codes, stop, take, tick);
}

void Engine::preload(const std::atomic<bool>& stop) {
  const c10::InferenceMode guard;
  state_->workload.images().preload(stop);
}

void Engine::set_shard(const Shard& shard) { state_->shard = shard; }

std::int64_t Engine::trials(const Plan& plan) const {
  return ShardPart(plan, state_->workload.chunks(), state_->shard).trials();
}

void Engine::know_plain_answers(const std::vector<GoldenResult>& known) {
  state_->workload.know_fp32(known);
}

void Engine::expect_golden(std::vector<GoldenResult> known) {
  state_->options.known_golden = std::move(known);
}

bool Engine::run(const Plan& plan, const std::vector<bool>& done,
                 const std::vector<bool>& golden_done, const Measurer& measurer, ResultSink& sink,
                 const std::atomic<bool>& stop,
                 const std::function<void(const EngineProgress&)>& progress) {
  const c10::InferenceMode guard;
  CampaignRunner runner(state_->workload, state_->options, state_->shard);
  const bool finished = runner.run(plan, done, golden_done, measurer, sink, stop, progress);
  state_->costs = runner.costs();
  return finished;
}

void Engine::keep_golden() {
  constexpr std::int64_t kShare = 4;
  const std::int64_t budget = state_->options.memory_bytes();
  const std::optional<std::int64_t> free = free_memory();
  state_->workload.keep_golden(free ? std::min(budget, *free / kShare) : budget);
}

void Engine::begin_beside(Engine& without) {
  state_->workload.begin_beside(without.state_->workload);
}

TrialResult Engine::run_one(const Plan& plan, std::int64_t id, const Measurer& measurer) {
  const c10::InferenceMode guard;
  Workload& workload = state_->workload;
  const std::int64_t chunk = workload.chunks().chunk_of(plan.trial(id).image);
  EngineOptions options = state_->options;  // the shortest way, without shortcuts
  options.early_stop = options.share = options.regions = false;
  const std::vector<bool> golden_done(static_cast<std::size_t>(workload.dataset().size()), true);
  const std::atomic<bool> stop{false};
  const std::function<void(const EngineProgress&)> quiet;
  OneResult sink;
  CampaignRun run{plan, golden_done, measurer, sink, stop, quiet, {}};
  run.by_chunk.resize(static_cast<std::size_t>(workload.chunks().count()));
  run.by_chunk[static_cast<std::size_t>(chunk)].push_back(id);
  Worker(workload, options, run, 0).group(std::span(&chunk, 1));
  return sink.result;
}

void Engine::give_up(std::map<std::int64_t, std::string> trials) {
  state_->options.given_up = std::move(trials);
}

void Engine::go_one_by_one(std::function<void(std::int64_t)> begins) {
  state_->options.flights_at_once = 1;
  state_->options.workers = 1;
  state_->options.begins = std::move(begins);
}

void Engine::set_flights_at_once(std::size_t flights) { state_->options.flights_at_once = flights; }

void Engine::count_traffic() { state_->options.count_traffic = true; }

const EngineCosts& Engine::costs() const { return state_->costs; }

std::optional<double> Engine::estimate_seconds(const Plan& plan, const Measurer& measurer,
                                               const std::atomic<bool>& stop) {
  const c10::InferenceMode guard;
  return bitfall::estimate_seconds(state_->workload, state_->options, state_->shard, plan, measurer,
                                   stop);
}

}  // namespace bitfall
