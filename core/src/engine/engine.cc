#include "engine.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "calibration.h"
#include "emulated_model.h"
#include "error.h"
#include "golden.h"
#include "image_chunks.h"
#include "injection.h"
#include "passes.h"
#include "regions.h"
#include "timer.h"
#include "worker_threads.h"

namespace bitfall {
namespace {

constexpr std::int64_t kImageCacheBytes = std::int64_t{1} << 30;

bool all_finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(),
                     [](float value) { return std::isfinite(value); });
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace

struct Engine::State {
  const Model& model;
  const Dataset& dataset;
  EngineOptions options;
  EmulatedModel emulated;
  ImageChunks deal;
  std::int64_t shard_index = 0;
  std::int64_t shard_count = 1;
  std::mutex images_mutex;
  std::map<std::int32_t, at::Tensor> images;  // decoded, while they fit
  std::int64_t image_bytes = 0;
  struct Fp32Answer {
    double loss = 0;
    std::int32_t top1 = 0;
  };
  std::vector<std::optional<Fp32Answer>> fp32;  // by image, once known
  std::optional<PassProfile> pass;              // once measured
  EngineCosts costs;                            // of the last run

  State(const Model& m, const Dataset& d, const SiteFormats& f, EngineOptions o)
      : model(m),
        dataset(d),
        options(std::move(o)),
        emulated(m, f, options.emulated, options.as_on_device),
        deal(options.seed, d.size(), m.batch()),
        fp32(static_cast<std::size_t>(d.size())) {}

  bool in_shard(std::int64_t index) const { return index % shard_count == shard_index; }
  // Golden ranges are wanted, which are those of every image.
  bool every_image() const {
    return options.needs_ranges || options.hit_value == HitValue::kClamped;
  }
  std::int64_t learning_images() const {
    const std::int64_t images = options.calibration.images;
    return images == 0 ? dataset.size() : std::min<std::int64_t>(images, dataset.size());
  }
  int steps() const { return static_cast<int>(model.program().steps().size()); }
  std::int64_t batch() const { return model.batch(); }
  const Site& site(std::int32_t index) const {
    return model.sites()[static_cast<std::size_t>(index)];
  }

  // Some image of the chunk has no golden result yet.
  bool golden_missing(std::int64_t chunk, const std::vector<bool>& done) const;
  at::Tensor image(std::int32_t index);
  bool holds(std::int32_t index);
  at::Tensor load(const RowImages& rows);
  std::vector<RangeObserver> observers() const;
  std::vector<std::uint32_t> calibrated(std::int32_t site, const RangeObserver& observer) const;
  void note_fp32(const RowImages& rows, const at::Tensor& logits);
  const PassProfile& pass_profile();
  std::unique_ptr<GoldenChunk> golden(std::int64_t chunk, std::int64_t budget, EngineCosts& costs);
  std::int64_t group_size(std::int64_t trials, std::int64_t sites, std::int64_t chunks,
                          std::int64_t budget);
  // More than the plan will take: every trial in a pass that runs to the end.
  double bound_seconds(const Plan& plan);

  std::optional<float> clamp_of(std::int32_t site) const;
  at::Tensor host_values(const Plan& plan, std::int32_t index, std::span<const std::int64_t> ids,
                         const at::Tensor& values) const;
  void prepare(const Plan& plan, std::int32_t site, std::span<const std::int64_t> ids,
               const GoldenChunk& golden, std::vector<Ready>& ready) const;
  TrialResult result_of(const Ready& ready, std::span<const float> faulty,
                        const Measure& measure) const;
  std::vector<std::int32_t> in_network_order(std::vector<std::int32_t> sites) const;
};

// What all workers of a run have in common.
struct Engine::Run {
  const Plan& plan;
  const std::vector<bool>& golden_done;
  const Measure& measure;
  ResultSink& sink;
  const std::atomic<bool>& stop;
  const std::function<void(const EngineProgress&)>& progress;
  std::vector<std::vector<std::int64_t>> by_chunk;  // trials to run
  std::mutex mutex = {};                            // of the sink, the count and progress
  EngineProgress count = {};
  std::atomic<bool> failed = false;
};

// One thread's share of a run.
class Engine::Worker {
 public:
  Worker(State& state, Run& run, std::int64_t budget)
      : state_(state),
        run_(run),
        budget_(budget),
        regions_(state.emulated, state.pass_profile()),
        passes_(
            state.emulated, state.options.early_stop,
            std::clamp<std::int64_t>(budget / 8, std::int64_t{16} << 20, std::int64_t{256} << 20)) {
  }

  /// False if stopped.
  bool group(std::span<const std::int64_t> chunks);
  const EngineCosts& costs() const { return costs_; }

 private:
  bool stopped() const { return run_.stop || run_.failed; }
  void store_golden(const GoldenChunk& golden);
  void finish(const Ready& one, std::span<const float> faulty);
  void tell();
  bool site(std::int32_t site, std::vector<std::unique_ptr<GoldenChunk>>& goldens,
            std::span<const std::int64_t> ids);

  State& state_;
  Run& run_;
  std::int64_t budget_;
  EngineCosts costs_;
  Regions regions_;
  Passes passes_;
};

bool Engine::State::golden_missing(std::int64_t chunk, const std::vector<bool>& done) const {
  for (std::int64_t row = 0; row < deal.size(chunk); ++row) {
    const auto image = static_cast<std::size_t>(deal.image(chunk, row));
    if (image >= done.size() || !done[image]) return true;
  }
  return false;
}

at::Tensor Engine::State::image(std::int32_t index) {
  {
    const std::lock_guard lock(images_mutex);
    const auto known = images.find(index);
    if (known != images.end()) return known->second;
  }
  const auto shape = dataset.shape();
  at::Tensor tensor = at::empty({shape[0], shape[1], shape[2]}, at::kFloat);
  dataset.load(index, {tensor.data_ptr<float>(), static_cast<std::size_t>(tensor.numel())});
  const std::lock_guard lock(images_mutex);
  const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
  if (image_bytes + bytes <= kImageCacheBytes && images.emplace(index, tensor).second) {
    image_bytes += bytes;
  }
  return tensor;
}

bool Engine::State::holds(std::int32_t index) {
  const std::lock_guard lock(images_mutex);
  return images.count(index) > 0;
}

at::Tensor Engine::State::load(const RowImages& rows) {
  std::vector<at::Tensor> tensors;
  for (const std::int32_t row : rows) tensors.push_back(image(row));
  return at::stack(tensors).to(c10::Device(model.device()));
}

// One a site, in the order of sites; those of sites that are not emulated are never used.
std::vector<RangeObserver> Engine::State::observers() const {
  std::vector<RangeObserver> observers;
  for (std::size_t i = 0; i < model.sites().size(); ++i) {
    const Site& site = model.sites()[i];
    const NumberFormat& format = emulated.formats().of(static_cast<std::int32_t>(i));
    const bool fits = format.calibrated() && format.refusal(site.shape) == nullptr;
    observers.emplace_back(site.shape, fits ? format.range_axis(site.shape) : -1,
                           options.calibration);
  }
  return observers;
}

std::vector<std::uint32_t> Engine::State::calibrated(std::int32_t index,
                                                     const RangeObserver& observer) const {
  const NumberFormat& format = emulated.formats().of(index);
  if (!format.calibrated()) return {};
  const auto& shape = site(index).shape;
  std::vector<std::uint32_t> registers(static_cast<std::size_t>(metadata_size(format, shape)), 0);
  format.calibrate(observer.ranges(), shape, registers);
  return registers;
}

void Engine::State::note_fp32(const RowImages& rows, const at::Tensor& logits) {
  for (std::size_t row = 0; row < rows.size(); ++row) {
    auto& answer = fp32[static_cast<std::size_t>(rows[row])];
    if (answer) continue;
    const auto values = row_of(logits, static_cast<std::int64_t>(row));
    answer = Fp32Answer{cross_entropy(values, dataset.label(rows[row])), top1(values)};
  }
}

const PassProfile& Engine::State::pass_profile() {
  if (!pass) {
    const RowImages rows = deal.images(0);
    pass = profile_pass(emulated, load(rows), rows);
  }
  return *pass;
}

std::unique_ptr<GoldenChunk> Engine::State::golden(std::int64_t chunk, std::int64_t budget,
                                                   EngineCosts& costs) {
  RowImages rows = deal.images(chunk);
  const at::Tensor input = load(rows);
  auto golden = std::make_unique<GoldenChunk>(emulated, pass_profile(), chunk, input,
                                              std::move(rows), budget, costs);
  if (golden->logits().size(1) <= 0) throw Error(ExitCode::kInput, "the model gives no logits");
  ++costs.chunks;
  return golden;
}

// Chunks that are worked through together: enough that the trials of a site fill some passes, as
// far as all their values fit.
std::int64_t Engine::State::group_size(std::int64_t trials, std::int64_t sites, std::int64_t chunks,
                                       std::int64_t budget) {
  constexpr std::int64_t kPasses = 8;
  const std::int64_t bytes = std::max<std::int64_t>(pass_profile().all_bytes(), 1);
  const std::int64_t fit = model.program().writes_in_place() ? 1 : budget / bytes;
  const std::int64_t wanted = trials == 0 ? 1 : kPasses * batch() * sites * chunks / trials + 1;
  return std::clamp<std::int64_t>(std::min(fit, wanted), 1, std::max<std::int64_t>(chunks, 1));
}

std::optional<float> Engine::State::clamp_of(std::int32_t index) const {
  if (options.hit_value != HitValue::kClamped) return std::nullopt;
  return emulated.profiles()[static_cast<std::size_t>(index)].golden.absolute();
}

// A site's values on the host, contiguous. Of values on a device only the elements that the trials
// hit are fetched, in one transfer; the rest is 0, and nobody reads it.
at::Tensor Engine::State::host_values(const Plan& plan, std::int32_t index,
                                      std::span<const std::int64_t> ids,
                                      const at::Tensor& values) const {
  if (!emulated.on_device(values) || !emulated.formats().of(index).elementwise()) {
    return values.to(at::kCPU).contiguous();
  }
  std::vector<std::int64_t> places;
  for (const std::int64_t id : ids) {
    const Trial trial = plan.trial(id);
    const std::int64_t base =
        model.is_weight(index) ? 0 : deal.row_of(trial.image) * site(index).values;
    for (const Edit& edit : plan.edits(trial)) {
      if (edit.register_index != 0) return values.to(at::kCPU).contiguous();  // a scale
      places.push_back(base + edit.element);
    }
  }
  const auto count = static_cast<std::int64_t>(places.size());
  const at::Tensor where = at::from_blob(places.data(), {count}, at::kLong).clone();
  at::Tensor host = at::zeros(values.sizes(), at::kFloat);
  host.view({-1}).index_copy_(
      0, where, values.reshape({-1}).index_select(0, where.to(values.device())).cpu());
  return host;
}

void Engine::State::prepare(const Plan& plan, std::int32_t index, std::span<const std::int64_t> ids,
                            const GoldenChunk& golden, std::vector<Ready>& ready) const {
  const Site& place = site(index);
  const bool weight = model.is_weight(index);
  const at::Tensor values = host_values(
      plan, index, ids, weight ? emulated.parameter(index) : golden.tensor(model.slots(index)[0]));
  const float* data = values.const_data_ptr<float>();
  for (const std::int64_t id : ids) {
    Ready& one = ready.emplace_back();
    one.id = id;
    one.trial = plan.trial(id);
    one.golden = &golden;
    one.row = deal.row_of(one.trial.image);
    const std::span<const float> slab(data + (weight ? 0 : one.row * place.values),
                                      static_cast<std::size_t>(place.values));
    one.injection =
        inject(emulated.formats().of(index), slab, place.shape, emulated.metadata(index),
               plan.edits(one.trial), clamp_of(index), emulated.stream(index, one.trial.image));
  }
}

TrialResult Engine::State::result_of(const Ready& ready, std::span<const float> faulty,
                                     const Measure& measure) const {
  const auto clean = ready.golden->logits(ready.row);
  const std::int64_t label = dataset.label(ready.trial.image);
  TrialResult result;
  result.trial = ready.id;
  result.entry = ready.trial.entry;
  result.site = ready.trial.site;
  result.image = ready.trial.image;
  result.activated = !ready.injection.changes.empty();
  result.edits = ready.injection.records;
  result.golden_loss = cross_entropy(clean, label);
  result.golden_top1 = top1(clean);
  result.faulty_loss = cross_entropy(faulty, label);
  result.faulty_top1 = top1(faulty);
  result.outcome = same_bits(clean, faulty)                   ? Outcome::kMasked
                   : !all_finite(faulty)                      ? Outcome::kNonfinite
                   : result.faulty_top1 != result.golden_top1 ? Outcome::kTop1Changed
                                                              : Outcome::kTop1Same;
  if (measure) {
    measure({clean, faulty, label, result.golden_loss, result.faulty_loss, result.golden_top1,
             result.faulty_top1},
            result.metrics);
  }
  return result;
}

std::vector<std::int32_t> Engine::State::in_network_order(std::vector<std::int32_t> sites) const {
  std::stable_sort(sites.begin(), sites.end(), [&](std::int32_t a, std::int32_t b) {
    return model.first_step(a) < model.first_step(b);
  });
  return sites;
}

void Engine::Worker::store_golden(const GoldenChunk& golden) {
  const std::int64_t images = state_.deal.size(golden.chunk());
  if (state_.emulated.exact()) {
    state_.note_fp32(golden.images(), golden.logits());
  } else if (!state_.fp32[static_cast<std::size_t>(golden.images()[0])]) {
    const Timer timer(costs_.golden_s);
    Slots slots = state_.emulated.start_plain(golden.input());
    state_.model.program().run(slots, 0, state_.steps());
    state_.note_fp32(golden.images(), state_.model.program().output(slots));
  }
  const std::lock_guard lock(run_.mutex);
  for (std::int64_t row = 0; row < images; ++row) {
    const std::int32_t image = golden.images()[static_cast<std::size_t>(row)];
    const auto logits = golden.logits(row);
    const auto& plain = *state_.fp32[static_cast<std::size_t>(image)];
    run_.sink.golden({image, cross_entropy(logits, state_.dataset.label(image)), top1(logits),
                      static_cast<float>(top2diff(logits)), plain.loss, plain.top1});
  }
}

void Engine::Worker::finish(const Ready& one, std::span<const float> faulty) {
  const Timer timer(costs_.results_s);
  const TrialResult result = state_.result_of(one, faulty, run_.measure);
  const std::lock_guard lock(run_.mutex);
  run_.sink.trial(result);
  ++run_.count.done;
  run_.count.mismatches += result.outcome >= Outcome::kTop1Changed ? 1 : 0;
}

void Engine::Worker::tell() {
  if (!run_.progress) return;
  const std::lock_guard lock(run_.mutex);
  run_.progress(run_.count);
}

bool Engine::Worker::group(std::span<const std::int64_t> chunks) {
  passes_.new_group();
  std::vector<std::unique_ptr<GoldenChunk>> goldens;
  std::map<std::int32_t, std::vector<std::int64_t>> by_site;
  for (const std::int64_t chunk : chunks) {
    if (stopped()) return false;
    goldens.push_back(
        state_.golden(chunk, budget_ / static_cast<std::int64_t>(chunks.size()), costs_));
    if (state_.golden_missing(chunk, run_.golden_done)) store_golden(*goldens.back());
    for (const std::int64_t id : run_.by_chunk[static_cast<std::size_t>(chunk)]) {
      by_site[run_.plan.trial(id).site].push_back(id);
    }
  }
  std::vector<std::int32_t> sites;
  for (const auto& [site, _] : by_site) sites.push_back(site);
  for (const std::int32_t index : state_.in_network_order(std::move(sites))) {
    if (!site(index, goldens, by_site[index])) return false;
  }
  return true;
}

// Runs the trials of one site, which come chunk by chunk.
bool Engine::Worker::site(std::int32_t site, std::vector<std::unique_ptr<GoldenChunk>>& goldens,
                          std::span<const std::int64_t> ids) {
  if (stopped()) return false;
  const int first = state_.model.first_step(site);
  std::vector<Ready> ready;
  ready.reserve(ids.size());
  std::size_t at = 0;
  for (const auto& golden : goldens) {
    golden->advance(first, costs_);
    std::size_t end = at;
    while (end < ids.size() &&
           state_.deal.chunk_of(run_.plan.trial(ids[end]).image) == golden->chunk()) {
      ++end;
    }
    const Timer timer(costs_.injection_s);
    state_.prepare(run_.plan, site, ids.subspan(at, end - at), *golden, ready);
    at = end;
  }
  // Trials that change nothing are masked; of those that change the same, one is run.
  std::vector<const Ready*> wanted;
  using Same = std::tuple<const GoldenChunk*, std::int64_t, std::vector<std::uint64_t>>;
  std::map<Same, std::vector<const Ready*>> same;
  std::map<const Ready*, const std::vector<const Ready*>*> twins;
  for (const Ready& one : ready) {
    if (one.injection.changes.empty()) {
      ++costs_.unchanged;
      finish(one, one.golden->logits(one.row));
      continue;
    }
    if (!state_.options.share) {
      wanted.push_back(&one);
      continue;
    }
    auto& group = same[{one.golden, one.row, key_of(one.injection.changes)}];
    if (group.empty()) {
      wanted.push_back(&one);
      twins[&one] = &group;
    } else {
      ++costs_.shared;
    }
    group.push_back(&one);
  }
  const Passes::Done done = [&](const Ready& one, std::span<const float> logits) {
    if (!state_.options.share) return finish(one, logits);
    for (const Ready* twin : *twins.at(&one)) finish(*twin, logits);
  };
  const std::function<void()> begin = [&] { tell(); };
  std::vector<Regions::Landing> landings;
  if (state_.options.suffix && state_.options.regions && !state_.model.is_weight(site)) {
    landings = regions_.carry(
        site, wanted, [&](const Ready& one) { done(one, one.golden->logits(one.row)); }, costs_);
  } else {
    landings.push_back({first, {}});
    for (const Ready* one : wanted) landings[0].flights.push_back({one, {}});
  }
  for (Regions::Landing& landing : landings) {
    if (!state_.options.suffix) {
      passes_.run_whole(site, std::move(landing.flights), done, begin, run_.stop, costs_);
    } else {
      passes_.run(site, landing.step, std::move(landing.flights), done, begin, run_.stop, costs_);
    }
    if (stopped()) return false;
  }
  tell();
  return true;
}

Engine::Engine(const Model& model, const Dataset& dataset, const SiteFormats& formats,
               EngineOptions options)
    : state_(std::make_unique<State>(model, dataset, formats, std::move(options))) {}

Engine::~Engine() = default;

const std::vector<SiteProfile>& Engine::profiles() const { return state_->emulated.profiles(); }

void Engine::set_profiles(std::vector<SiteProfile> profiles) {
  const c10::InferenceMode guard;
  state_->emulated.set_profiles(std::move(profiles));
  state_->pass.reset();
}

std::int64_t Engine::images_to_profile(std::int64_t most_images) const {
  const std::int64_t all = state_->dataset.size();
  std::int64_t wanted = all;
  if (!state_->every_image())
    wanted = state_->emulated.calibrated() ? state_->learning_images() : 0;
  return most_images > 0 ? std::min(wanted, most_images) : wanted;
}

bool Engine::profile(const std::atomic<bool>& stop, const std::function<void(std::int64_t)>& tick,
                     std::int64_t most_images) {
  const c10::InferenceMode guard;
  State& state = *state_;
  auto observers = state.observers();  // of what formats learn from
  auto all = state.observers();        // golden ranges: of every image
  const auto observe = [](RangeObserver& observer, const at::Tensor& values) {
    const at::Tensor flat = values.to(at::kCPU).contiguous();
    observer.add({flat.const_data_ptr<float>(), static_cast<std::size_t>(flat.numel())});
  };
  const bool every_image = state.every_image();
  const std::int64_t learning = state.learning_images();
  const std::int64_t wanted = images_to_profile(most_images);
  const std::int64_t chunks = (wanted + state.batch() - 1) / state.batch();
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    if (stop) return false;
    const RowImages rows = state.deal.images(chunk);
    const at::Tensor input = state.load(rows);
    Slots slots = state.emulated.start_plain(input);
    const std::int64_t first = chunk * state.batch();
    const auto look = [&](std::int32_t site) {
      const auto index = static_cast<std::size_t>(site);
      const at::Tensor& value =
          slots[static_cast<std::size_t>(state.model.slots(site)[0])].toTensor();
      const std::int64_t left =
          std::clamp<std::int64_t>(learning - first, 0, state.deal.size(chunk));
      if (left > 0) observe(observers[index], value.narrow(0, 0, left));
      if (every_image) observe(all[index], value);
    };
    if (state.emulated.input_emulated()) look(0);
    int done = 0;
    for (int step = 0; step < state.steps(); ++step) {
      if (state.emulated.hook(step) < 0) continue;
      state.model.program().run(slots, done, step + 1);
      done = step + 1;
      look(state.emulated.hook(step));
    }
    state.model.program().run(slots, done, state.steps());
    state.note_fp32(rows, state.model.program().output(slots));
    if (tick) tick(std::min<std::int64_t>((chunk + 1) * state.batch(), wanted));
  }
  std::vector<SiteProfile> profiles(state.model.sites().size());
  for (const std::int32_t site : state.options.emulated) {
    const auto index = static_cast<std::size_t>(site);
    if (state.model.is_weight(site)) {
      observe(observers[index], state.model.parameter(site));
      observe(all[index], state.model.parameter(site));
    }
    const bool seen_all = every_image || state.model.is_weight(site);
    profiles[index].golden = (seen_all ? all : observers)[index].golden();
    profiles[index].metadata = state.calibrated(site, observers[index]);
  }
  set_profiles(std::move(profiles));
  return true;
}

void Engine::preload(const std::atomic<bool>& stop) {
  const c10::InferenceMode guard;
  for (std::int32_t image = 0; image < state_->dataset.size() && !stop; ++image) {
    state_->image(image);
    if (!state_->holds(image)) return;  // the cache is full
  }
}

void Engine::set_shard(std::int64_t index, std::int64_t count) {
  if (count > state_->deal.count()) {
    throw Error(ExitCode::kUsage, "the campaign has " + std::to_string(state_->deal.count()) +
                                      " chunks of " + std::to_string(state_->batch()) +
                                      " images, too few for " + std::to_string(count) +
                                      " shards; make fewer, or a smaller [run] batch");
  }
  state_->shard_index = index;
  state_->shard_count = count;
}

std::int64_t Engine::trials(const Plan& plan) const {
  if (state_->shard_count == 1) return plan.size();
  std::int64_t count = 0;
  for (std::int64_t id = 0; id < plan.size(); ++id) {
    count += state_->in_shard(state_->deal.chunk_of(plan.trial(id).image)) ? 1 : 0;
  }
  return count;
}

bool Engine::run(const Plan& plan, const std::vector<bool>& done,
                 const std::vector<bool>& golden_done, const Measure& measure, ResultSink& sink,
                 const std::atomic<bool>& stop,
                 const std::function<void(const EngineProgress&)>& progress) {
  const c10::InferenceMode guard;
  State& state = *state_;
  state.costs = {};
  const Timer total(state.costs.total_s);
  Run run{plan, golden_done, measure, sink, stop, progress, {}};
  run.by_chunk.resize(static_cast<std::size_t>(state.deal.count()));
  std::int64_t trials = 0;
  for (std::int64_t id = 0; id < plan.size(); ++id) {
    if (static_cast<std::size_t>(id) < done.size() && done[static_cast<std::size_t>(id)]) continue;
    const std::int64_t chunk = state.deal.chunk_of(plan.trial(id).image);
    if (!state.in_shard(chunk)) continue;
    run.by_chunk[static_cast<std::size_t>(chunk)].push_back(id);
    ++trials;
  }
  std::vector<std::int64_t> chunks;
  for (std::int64_t chunk = 0; chunk < state.deal.count(); ++chunk) {
    const bool wanted = !run.by_chunk[static_cast<std::size_t>(chunk)].empty() ||
                        state.golden_missing(chunk, golden_done);
    if (wanted && state.in_shard(chunk)) chunks.push_back(chunk);
  }
  if (chunks.empty()) return !stop;

  std::set<std::int32_t> sites;
  for (const Stratum& stratum : plan.strata()) sites.insert(stratum.site);
  const auto count = static_cast<std::int64_t>(chunks.size());
  const auto workers =
      std::clamp<std::int64_t>(state.model.device() == "cpu" ? state.options.workers : 1, 1, count);
  state.costs.workers = workers;
  const std::int64_t budget = state.options.memory_bytes() / workers;
  const std::int64_t size =
      std::min(state.group_size(trials, static_cast<std::int64_t>(sites.size()), count, budget),
               (count + workers - 1) / workers);
  std::atomic<std::int64_t> next = 0;
  const auto work = [&] {
    const c10::InferenceMode worker_guard;
    try {
      Worker worker(state, run, budget);
      for (std::int64_t at; (at = next.fetch_add(size)) < count;) {
        const auto end = std::min(at + size, count);
        if (!worker.group(std::span(chunks).subspan(static_cast<std::size_t>(at),
                                                    static_cast<std::size_t>(end - at)))) {
          break;
        }
      }
      const std::lock_guard lock(run.mutex);
      state.costs.add(worker.costs());
    } catch (...) {
      run.failed = true;  // ends the other workers
      throw;
    }
  };
  state.pass_profile();  // before workers share it
  run_on(workers, work);
  return !stop;
}

TrialResult Engine::run_one(const Plan& plan, std::int64_t id, const Measure& measure) {
  const c10::InferenceMode guard;
  State& state = *state_;
  const Trial trial = plan.trial(id);
  EngineCosts costs;
  const auto golden = state.golden(state.deal.chunk_of(trial.image), 0, costs);
  golden->advance(state.model.first_step(trial.site), costs);
  std::vector<Ready> ready;
  state.prepare(plan, trial.site, std::span(&id, 1), *golden, ready);
  if (ready[0].injection.changes.empty()) {
    return state.result_of(ready[0], golden->logits(ready[0].row), measure);
  }
  TrialResult result;
  const Passes::Done done = [&](const Ready& one, std::span<const float> logits) {
    result = state.result_of(one, logits, measure);
  };
  Passes passes(state.emulated, false, 0);
  const std::atomic<bool> stop{false};
  std::vector<Flight> flights{{&ready[0], {}}};
  if (state.options.suffix) {
    passes.run(
        trial.site, state.model.first_step(trial.site), std::move(flights), done, [] {}, stop,
        costs);
  } else {
    passes.run_whole(
        trial.site, std::move(flights), done, [] {}, stop, costs);
  }
  return result;
}

const EngineCosts& Engine::costs() const { return state_->costs; }

double Engine::State::bound_seconds(const Plan& plan) {
  const PassProfile& pass = pass_profile();
  double seconds = 2 * pass.seconds_behind(0) * static_cast<double>(deal.count());
  for (const Stratum& stratum : plan.strata()) {
    const bool weight = model.is_weight(stratum.site);
    const int from = options.suffix ? model.first_step(stratum.site) : 0;
    const auto trials = static_cast<double>(stratum.trials);
    const double full = std::ceil(trials / static_cast<double>(batch()));
    if (!weight) {
      seconds += full * pass.seconds_behind(from);
      continue;
    }
    // A pass for each fault in a chunk up to the next cut, and behind it full ones.
    int cut = steps();
    for (int step = from + 1; options.early_stop && step < steps(); ++step) {
      if (!is_expensive(model.program().steps()[static_cast<std::size_t>(step)])) continue;
      cut = step;
      break;
    }
    const double alone =
        stratum.permanent ? trials / dataset.size() * static_cast<double>(deal.count()) : trials;
    seconds += alone * (pass.seconds_behind(from) - pass.seconds_behind(cut)) +
               std::min(alone, full) * pass.seconds_behind(cut);
  }
  return seconds;
}

std::optional<double> Engine::estimate_seconds(const Plan& plan, const Measure& measure,
                                               const std::atomic<bool>& stop) {
  constexpr double kPilotSeconds = 8;
  const c10::InferenceMode guard;
  State& state = *state_;
  const double part = static_cast<double>(state.shard_count);
  if (plan.size() > kMostPiloted) return state.bound_seconds(plan) / part;
  std::vector<std::int64_t> chunks;
  for (std::int64_t chunk = 0; chunk < state.deal.count(); ++chunk) {
    if (state.in_shard(chunk)) chunks.push_back(chunk);
  }
  std::set<std::int32_t> sites;
  for (const Stratum& stratum : plan.strata()) sites.insert(stratum.site);
  const std::int64_t all = trials(plan);
  const auto count = static_cast<std::int64_t>(chunks.size());
  const auto workers =
      std::clamp<std::int64_t>(state.model.device() == "cpu" ? state.options.workers : 1, 1, count);

  // A part of the campaign that a worker would run as one group, thinned out where it would take
  // too long.
  const double golden_s = std::max(state.pass_profile().seconds_behind(0), 1e-9);
  const auto golden_most =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(kPilotSeconds / 2 / golden_s));
  const std::int64_t group =
      std::min(state.group_size(all, static_cast<std::int64_t>(sites.size()), count,
                                state.options.memory_bytes() / workers),
               golden_most);
  const double share = static_cast<double>(group) / static_cast<double>(state.deal.count());
  const double bound = state.bound_seconds(plan) / part;
  const auto stride =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(bound * part * share / kPilotSeconds));
  std::vector<bool> in_pilot(static_cast<std::size_t>(state.deal.count()), false);
  for (std::int64_t i = 0; i < group; ++i) {
    in_pilot[static_cast<std::size_t>(chunks[static_cast<std::size_t>(i)])] = true;
  }
  const auto piloted = [&](std::int64_t chunk) {
    return in_pilot[static_cast<std::size_t>(chunk)];
  };

  struct Nowhere : ResultSink {
    void golden(const GoldenResult&) override {}
    void trial(const TrialResult&) override {}
  } nowhere;
  const auto quiet = [](const EngineProgress&) {};
  std::vector<bool> done(static_cast<std::size_t>(plan.size()), true);
  std::vector<bool> golden_done(static_cast<std::size_t>(state.dataset.size()), true);
  for (std::int64_t chunk = 0; chunk < state.deal.count(); ++chunk) {
    for (std::int64_t row = 0; piloted(chunk) && row < state.deal.size(chunk); ++row) {
      golden_done[static_cast<std::size_t>(state.deal.image(chunk, row))] = false;
    }
  }
  const std::int64_t own_workers = std::exchange(state.options.workers, 1);
  const auto timed = [&] {
    const bool whole = run(plan, done, golden_done, measure, nowhere, stop, quiet);
    return whole ? std::optional(state.costs.total_s) : std::nullopt;
  };
  std::vector<std::int64_t> ids;
  for (std::int64_t id = 0; id < plan.size(); ++id) {
    if (piloted(state.deal.chunk_of(plan.trial(id).image))) ids.push_back(id);
  }
  const auto with_every = [&](std::int64_t every) -> std::optional<double> {
    for (std::size_t i = 0; i < ids.size(); i += static_cast<std::size_t>(every)) {
      done[static_cast<std::size_t>(ids[i])] = false;
    }
    return timed();
  };
  const auto count_of = [&](std::int64_t every) {
    return static_cast<double>((static_cast<std::int64_t>(ids.size()) + every - 1) / every);
  };
  // Where trials are left out, windows are tried out for few of them: what the second half of those
  // that are run adds is then what a trial costs, and the rest is spent once.
  const auto images_s = timed();
  const auto half_s = images_s && stride > 1 ? with_every(2 * stride) : images_s;
  const auto full_s = half_s ? with_every(stride) : std::nullopt;
  state.options.workers = own_workers;
  if (!full_s) return std::nullopt;
  const double run_trials = count_of(stride);
  const double took = std::max(0.0, *full_s - *images_s);
  double a_trial = run_trials > 0 ? took / run_trials : 0;
  if (stride > 1 && run_trials > count_of(2 * stride)) {
    const double more = (*full_s - *half_s) / (run_trials - count_of(2 * stride));
    a_trial = std::clamp(more, 0.0, a_trial);
  }
  const double once = took - a_trial * run_trials;
  const double all_images_s = *images_s * static_cast<double>(count) / static_cast<double>(group);
  return std::min(bound, once + (all_images_s + a_trial * static_cast<double>(all)) /
                                    static_cast<double>(workers));
}

}  // namespace bitfall
