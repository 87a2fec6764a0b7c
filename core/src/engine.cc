#include "engine.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "calibration.h"
#include "device_rounding.h"
#include "error.h"
#include "image_chunks.h"
#include "injection.h"
#include "program.h"

namespace bitfall {
namespace {

constexpr std::int64_t kImageCacheBytes = std::int64_t{1} << 30;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::span<const float> row_of(const at::Tensor& logits, std::int64_t row) {
  return {logits.const_data_ptr<float>() + row * logits.size(1),
          static_cast<std::size_t>(logits.size(1))};
}

bool all_finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(),
                     [](float value) { return std::isfinite(value); });
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// Bit patterns of what a trial changes, to find trials that share one.
std::vector<std::uint64_t> key_of(std::span<const Change> changes) {
  std::vector<std::uint64_t> key;
  for (const Change& change : changes) {
    key.push_back(static_cast<std::uint64_t>(change.element));
    key.push_back(std::bit_cast<std::uint32_t>(change.value));
  }
  return key;
}

// Where the time goes; the other steps of a network cost little beside.
bool is_expensive(const Step& step) {
  return step.operation == "conv" || step.operation == "linear" || step.operation == "matmul" ||
         step.operation == "einsum" || step.operation == "attention";
}

// Adds the time until it goes out of scope.
class Timer {
 public:
  explicit Timer(double& seconds) : seconds_(seconds) {}
  ~Timer() { seconds_ += seconds_since(start_); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  double& seconds_;
  Clock::time_point start_ = Clock::now();
};

// A trial that is ready to run: its edits were applied to the golden values of its place.
struct Ready {
  std::int64_t id = 0;
  Trial trial;
  std::int64_t row = 0;
  Injection injection;
};

// One run of the suffix: trials that share it, at most one an image row unless they share one
// weight fault.
using Pass = std::vector<const Ready*>;

// Of a trial at a cut of the network: its image's part of every live value that depends on the
// fault.
using Rows = std::vector<at::Tensor>;

// A tensor's memory where the images lie one behind the other, as `golden` has them; null
// otherwise.
float* by_image(const at::Tensor& value, const at::Tensor& golden) {
  const bool plain = value.is_cpu() && value.scalar_type() == at::kFloat && value.dim() > 0 &&
                     value.is_non_overlapping_and_dense() && value.sizes() == golden.sizes() &&
                     value.strides() == golden.strides() && value.size(0) > 0 &&
                     value.stride(0) * value.size(0) == value.numel();
  return plain ? static_cast<float*>(value.data_ptr()) : nullptr;
}

}  // namespace

struct Engine::State {
  const Model& model;
  const Dataset& dataset;
  SiteFormats formats;
  EngineOptions options;
  ImageChunks deal;
  std::vector<SiteProfile> profiles;
  std::vector<int> hook;  // hook[step]: emulated site whose value the step makes, or -1
  bool input_emulated = false;
  bool exact = true;        // no emulated value can differ from FP32
  bool calibrated = false;  // some emulated site's format needs golden data
  std::int64_t chunk = 0;   // that is being run: names the images of the rows
  std::int64_t shard_index = 0;
  std::int64_t shard_count = 1;
  std::vector<std::pair<int, at::Tensor>> overrides;  // slots of emulated parameters
  std::vector<at::Tensor> emulated_parameters;        // by site; undefined where not emulated
  using RoundingKey = std::pair<const NumberFormat*, std::vector<std::uint32_t>>;
  mutable std::map<RoundingKey, std::optional<DeviceRounding>> roundings;  // by calibrated metadata
  std::map<std::int32_t, at::Tensor> images;  // decoded, while they fit
  std::int64_t image_bytes = 0;
  std::optional<bool> keep;  // golden values of a chunk fit the budget
  struct Fp32Answer {
    double loss = 0;
    std::int32_t top1 = 0;
  };
  std::vector<std::optional<Fp32Answer>> fp32;  // by image, once known
  std::vector<bool> by_row;  // by slot: an activation whose values are proven to lie image by image
  mutable EngineCosts costs;

  // One chunk's golden values: a table that stands at step `position`, or holds everything if
  // `kept`.
  struct Front {
    at::Tensor input;
    Slots slots;
    int position = 0;
    bool kept = false;
    at::Tensor logits;  // golden
  };

  State(const Model& m, const Dataset& d, const SiteFormats& f, EngineOptions o)
      : model(m),
        dataset(d),
        formats(f),
        options(std::move(o)),
        deal(options.seed, d.size(), m.batch()) {}

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
  at::Tensor image(std::int32_t index);
  at::Tensor load_chunk(std::int64_t index);
  void prepare_hooks();
  std::vector<RangeObserver> observers() const;
  void calibrate(std::int32_t site, const RangeObserver& observer);
  void emulate_parameters();
  std::span<const std::uint32_t> metadata(std::int32_t site) const;
  std::uint64_t stream(std::int32_t site, std::int64_t row) const;
  at::Tensor emulated(std::int32_t site, const at::Tensor& value) const;
  const DeviceRounding* device_rounding(std::int32_t site) const;
  Slots start(const at::Tensor& input, bool emulating) const;
  void run(Slots& slots, int from, int to, bool emulating, bool keep_values = false) const;
  at::Tensor fp32_logits(const at::Tensor& input) const;
  void note_fp32(std::int64_t chunk, const at::Tensor& logits);
  bool values_fit(const at::Tensor& input) const;
  Front golden_front(const at::Tensor& input);
  void advance(Front& front, int step) const;
  const at::Tensor& site_value(const Front& front, std::int32_t site) const;

  std::optional<float> clamp_of(std::int32_t site) const;
  std::vector<Ready> prepare(const Plan& plan, std::int32_t site, std::span<const std::int64_t> ids,
                             const Front& front) const;
  std::vector<Pass> pack(std::int32_t site, std::span<const Ready* const> ready) const;
  std::vector<Pass> pack_rows(std::span<const Ready* const> ready) const;
  Slots faulty_slots(const Front& front, std::int32_t site, const Pass& pass) const;
  at::Tensor faulty_value(std::int32_t site, const at::Tensor& golden, const Pass& pass) const;
  at::Tensor run_pass(const Front& front, std::int32_t site, const Pass& pass) const;
  at::Tensor run_whole(const Front& front, std::int32_t site, const Pass& pass) const;
  using Begin = std::function<Slots(const Pass&)>;  // a pass's table at a wave's first step
  using Done = std::function<void(const Ready&, std::span<const float> logits)>;
  std::optional<std::vector<int>> changed_slots(const Slots& slots, const Front& front) const;
  bool row_differs(const Slots& slots, const Front& front, std::span<const int> changed,
                   std::int64_t row) const;
  void run_wave(const Front& front, int from, const std::vector<Pass>& passes, const Begin& begin,
                const Done& done, bool look, const std::atomic<bool>& stop) const;
  void finish_pass(const Pass& pass, const at::Tensor& logits, const Done& done) const;
  void run_to_end(int from, const std::vector<Pass>& passes, const Begin& begin, const Done& done,
                  const std::atomic<bool>& stop) const;
  TrialResult result_of(const Ready& ready, const at::Tensor& golden, std::span<const float> faulty,
                        const Measure& measure) const;
  std::vector<std::int32_t> in_network_order(std::vector<std::int32_t> sites) const;
};

at::Tensor Engine::State::image(std::int32_t index) {
  const auto known = images.find(index);
  if (known != images.end()) return known->second;
  const auto shape = dataset.shape();
  at::Tensor tensor = at::empty({shape[0], shape[1], shape[2]}, at::kFloat);
  dataset.load(index, {tensor.data_ptr<float>(), static_cast<std::size_t>(tensor.numel())});
  if (image_bytes + static_cast<std::int64_t>(tensor.nbytes()) <= kImageCacheBytes) {
    image_bytes += static_cast<std::int64_t>(tensor.nbytes());
    images[index] = tensor;
  }
  return tensor;
}

at::Tensor Engine::State::load_chunk(std::int64_t index) {
  chunk = index;
  std::vector<at::Tensor> rows;
  for (std::int64_t row = 0; row < batch(); ++row) rows.push_back(image(deal.image(chunk, row)));
  return at::stack(rows).to(c10::Device(model.device()));
}

void Engine::State::prepare_hooks() {
  for (std::size_t i = 0; i < model.sites().size(); ++i) {
    const Site& site = model.sites()[i];
    if (site.target != Target::kActivation || !site.refusal.empty()) continue;
    const auto slot = static_cast<std::size_t>(model.slots(static_cast<std::int32_t>(i))[0]);
    if (by_row.size() <= slot) by_row.resize(slot + 1);
    by_row[slot] = true;
  }
  hook.assign(static_cast<std::size_t>(steps()), -1);
  for (const std::int32_t site : options.emulated) {
    const Target target = model.sites()[static_cast<std::size_t>(site)].target;
    if (target == Target::kActivation)
      hook[static_cast<std::size_t>(model.first_step(site) - 1)] = site;
    if (target == Target::kInput) input_emulated = true;
    exact &= formats.of(site).exact();
    calibrated |= formats.of(site).calibrated();
  }
}

// One a site, in the order of sites; those of sites that are not emulated are never used.
std::vector<RangeObserver> Engine::State::observers() const {
  std::vector<RangeObserver> observers;
  for (std::size_t i = 0; i < model.sites().size(); ++i) {
    const Site& site = model.sites()[i];
    const NumberFormat& format = formats.of(static_cast<std::int32_t>(i));
    const bool fits = format.calibrated() && format.refusal(site.shape) == nullptr;
    observers.emplace_back(site.shape, fits ? format.range_axis(site.shape) : -1,
                           options.calibration);
  }
  return observers;
}

void Engine::State::calibrate(std::int32_t site, const RangeObserver& observer) {
  const NumberFormat& format = formats.of(site);
  if (!format.calibrated()) return;
  const Site& place = model.sites()[static_cast<std::size_t>(site)];
  std::int64_t size = 0;
  for (int kind = 1; kind < static_cast<int>(format.registers().size()); ++kind) {
    size += format.register_count(kind, place.shape);
  }
  auto& registers = profiles[static_cast<std::size_t>(site)].metadata;
  registers.assign(static_cast<std::size_t>(size), 0);
  format.calibrate(observer.ranges(), place.shape, registers);
}

void Engine::State::emulate_parameters() {
  overrides.clear();
  emulated_parameters.assign(model.sites().size(), {});
  for (const std::int32_t site : options.emulated) {
    if (model.sites()[static_cast<std::size_t>(site)].target != Target::kWeight) continue;
    const NumberFormat& format = formats.of(site);
    at::Tensor value = model.parameter(site).cpu().contiguous().clone();
    emulate(format, {value.data_ptr<float>(), static_cast<std::size_t>(value.numel())},
            {model.sites()[static_cast<std::size_t>(site)].shape, 0, 1, stream(site, 0)},
            metadata(site));
    value = format.exact() ? model.parameter(site) : value.to(c10::Device(model.device()));
    emulated_parameters[static_cast<std::size_t>(site)] = value;
    for (const int slot : model.slots(site)) overrides.emplace_back(slot, value);
  }
}

std::span<const std::uint32_t> Engine::State::metadata(std::int32_t site) const {
  return profiles[static_cast<std::size_t>(site)].metadata;
}

// A parameter has one value for all images.
std::uint64_t Engine::State::stream(std::int32_t site, std::int64_t row) const {
  const bool weight = model.sites()[static_cast<std::size_t>(site)].target == Target::kWeight;
  const std::int64_t image = weight ? 0 : deal.image(chunk, row);
  return static_cast<std::uint64_t>(site) << 32 | static_cast<std::uint64_t>(image);
}

// Null where only the host can round so.
const DeviceRounding* Engine::State::device_rounding(std::int32_t site) const {
  const NumberFormat& format = formats.of(site);
  const auto registers = metadata(site);
  const RoundingKey key{&format, {registers.begin(), registers.end()}};
  auto known = roundings.find(key);
  if (known == roundings.end()) {
    const auto& shape = model.sites()[static_cast<std::size_t>(site)].shape;
    known = roundings.emplace(key, DeviceRounding::make(format, shape, registers)).first;
  }
  return known->second ? &*known->second : nullptr;
}

// The value as the format holds it, in the same memory layout; a fresh tensor unless the format is
// exact.
at::Tensor Engine::State::emulated(std::int32_t site, const at::Tensor& value) const {
  const NumberFormat& format = formats.of(site);
  const Timer timer(costs.emulation_s);
  if (format.exact()) return value.is_non_overlapping_and_dense() ? value : value.contiguous();
  if (!value.is_cpu() || options.round_on_device) {
    if (const DeviceRounding* rounding = device_rounding(site)) return (*rounding)(value);
  }
  const Site& place = model.sites()[static_cast<std::size_t>(site)];
  at::Tensor slabs = value.to(at::kCPU).contiguous();
  if (slabs.is_same(value) || slabs.is_alias_of(value)) slabs = slabs.clone();
  float* data = slabs.data_ptr<float>();
  const std::int64_t size = place.values;
  // Blocks of a slab are independent where each element is.
  const std::int64_t block = format.elementwise() ? std::min<std::int64_t>(size, 1 << 16) : size;
  const std::int64_t blocks = (size + block - 1) / block;
  at::parallel_for(0, batch() * blocks, 1, [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t i = from; i < to; ++i) {
      const std::int64_t first = (i % blocks) * block;
      const std::span<float> part(data + (i / blocks) * size + first,
                                  static_cast<std::size_t>(std::min(block, size - first)));
      emulate(format, part, {place.shape, first, 1, stream(site, i / blocks)}, metadata(site));
    }
  });
  if (value.is_contiguous() && value.is_cpu()) return slabs;
  if (!value.is_non_overlapping_and_dense()) return slabs.to(value.device());
  at::Tensor same_layout = at::empty_like(value);
  same_layout.copy_(slabs);
  return same_layout;
}

Slots Engine::State::start(const at::Tensor& input, bool emulating) const {
  const Program& program = model.program();
  const bool through = emulating && input_emulated;
  Slots slots = program.start(through ? emulated(0, input) : input);
  if (emulating) {
    for (const auto& [slot, value] : overrides) slots[static_cast<std::size_t>(slot)] = value;
    // A step may write into a parameter; the emulated one must outlive this run unchanged.
    if (program.writes_in_place()) slots = program.fork(slots, 0);
  }
  return slots;
}

void Engine::State::run(Slots& slots, int from, int to, bool emulating, bool keep_values) const {
  const Program& program = model.program();
  int done = from;
  if (emulating) {
    for (int step = from; step < to; ++step) {
      const int site = hook[static_cast<std::size_t>(step)];
      if (site < 0) continue;
      program.run(slots, done, step + 1, keep_values);
      done = step + 1;
      c10::IValue& value = slots[static_cast<std::size_t>(model.slots(site)[0])];
      if (value.isTensor() && value.toTensor().defined()) value = emulated(site, value.toTensor());
    }
  }
  program.run(slots, done, to, keep_values);
}

at::Tensor Engine::State::fp32_logits(const at::Tensor& input) const {
  Slots slots = start(input, false);
  run(slots, 0, steps(), false);
  return model.program().output(slots);
}

void Engine::State::note_fp32(std::int64_t chunk, const at::Tensor& logits) {
  for (std::int64_t row = 0; row < batch(); ++row) {
    const std::int32_t index = deal.image(chunk, row);
    if (fp32[static_cast<std::size_t>(index)]) continue;
    const auto values = row_of(logits, row);
    fp32[static_cast<std::size_t>(index)] =
        Fp32Answer{cross_entropy(values, dataset.label(index)), top1(values)};
  }
}

// Whether all that one golden pass computes may be kept at once.
bool Engine::State::values_fit(const at::Tensor& input) const {
  if (model.program().writes_in_place()) return false;
  Slots slots = start(input, true);
  std::int64_t bytes = 0;
  for (int step = 0; step < steps(); ++step) {
    run(slots, step, step + 1, true);
    const int slot = model.program().steps()[static_cast<std::size_t>(step)].output;
    if (slot >= 0 && slots[static_cast<std::size_t>(slot)].isTensor()) {
      const at::Tensor& made = slots[static_cast<std::size_t>(slot)].toTensor();
      if (made.defined() && !made.is_view()) bytes += static_cast<std::int64_t>(made.nbytes());
    }
    if (bytes > options.keep_bytes) return false;
  }
  return true;
}

Engine::State::Front Engine::State::golden_front(const at::Tensor& input) {
  if (!keep) keep = values_fit(input);
  Front front;
  front.input = input;
  front.kept = *keep;
  front.slots = start(input, true);
  if (front.kept) {
    run(front.slots, 0, steps(), true, true);
    front.logits = model.program().output(front.slots);
    front.position = steps();
  } else {
    Slots once = model.program().fork(front.slots, 0);
    run(once, 0, steps(), true);
    front.logits = model.program().output(once);
  }
  return front;
}

void Engine::State::advance(Front& front, int step) const {
  if (front.kept || front.position >= step) return;
  run(front.slots, front.position, step, true);
  front.position = step;
}

const at::Tensor& Engine::State::site_value(const Front& front, std::int32_t site) const {
  if (model.sites()[static_cast<std::size_t>(site)].target == Target::kWeight) {
    return emulated_parameters[static_cast<std::size_t>(site)];
  }
  return front.slots[static_cast<std::size_t>(model.slots(site)[0])].toTensor();
}

std::optional<float> Engine::State::clamp_of(std::int32_t site) const {
  if (options.hit_value != HitValue::kClamped) return std::nullopt;
  return profiles[static_cast<std::size_t>(site)].golden.absolute();
}

std::vector<Ready> Engine::State::prepare(const Plan& plan, std::int32_t site,
                                          std::span<const std::int64_t> ids,
                                          const Front& front) const {
  const Site& place = model.sites()[static_cast<std::size_t>(site)];
  const bool weight = place.target == Target::kWeight;
  const at::Tensor values = site_value(front, site).to(at::kCPU).contiguous();
  const float* data = values.const_data_ptr<float>();
  std::vector<Ready> ready(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    Ready& one = ready[i];
    one.id = ids[i];
    one.trial = plan.trial(ids[i]);
    one.row = deal.row_of(one.trial.image);
    const std::span<const float> slab(data + (weight ? 0 : one.row * place.values),
                                      static_cast<std::size_t>(place.values));
    one.injection = inject(formats.of(site), slab, place.shape, metadata(site),
                           plan.edits(one.trial), clamp_of(site), stream(site, one.row));
  }
  return ready;
}

// Activations and inputs: the n-th trial of every image goes into the n-th pass. Weights: all
// images of the chunk that meet the same fault share a pass.
std::vector<Pass> Engine::State::pack(std::int32_t site,
                                      std::span<const Ready* const> ready) const {
  std::vector<Pass> passes;
  if (model.sites()[static_cast<std::size_t>(site)].target == Target::kWeight) {
    std::map<std::vector<std::uint64_t>, std::size_t> pass_of;
    for (const Ready* one : ready) {
      const auto [it, fresh] = pass_of.try_emplace(key_of(one->injection.changes), passes.size());
      if (fresh) passes.emplace_back();
      passes[it->second].push_back(one);
    }
    return passes;
  }
  return pack_rows(ready);
}

std::vector<Pass> Engine::State::pack_rows(std::span<const Ready* const> ready) const {
  std::vector<Pass> passes;
  std::vector<std::size_t> used(static_cast<std::size_t>(batch()), 0);
  for (const Ready* one : ready) {
    const std::size_t pass = used[static_cast<std::size_t>(one->row)]++;
    if (pass == passes.size()) passes.emplace_back();
    passes[pass].push_back(one);
  }
  return passes;
}

// A copy of `golden` in the same layout with the pass's changed values in it.
at::Tensor Engine::State::faulty_value(std::int32_t site, const at::Tensor& golden,
                                       const Pass& pass) const {
  const Site& place = model.sites()[static_cast<std::size_t>(site)];
  const bool weight = place.target == Target::kWeight;
  at::Tensor faulty = at::empty_like(golden);
  faulty.copy_(golden);
  const auto sizes = faulty.sizes();
  const auto strides = faulty.strides();
  std::vector<std::int64_t> places;
  std::vector<float> values;
  for (const Ready* one : pass) {
    const std::int64_t base = weight ? 0 : one->row * place.values;
    for (const Change& change : one->injection.changes) {
      std::int64_t rest = base + change.element, offset = 0;
      for (std::int64_t d = faulty.dim() - 1; d >= 0; --d) {
        offset += (rest % sizes[d]) * strides[d];
        rest /= sizes[d];
      }
      places.push_back(offset);
      values.push_back(change.value);
    }
    if (weight) break;  // the same change for all of the pass
  }
  if (faulty.is_cpu()) {
    float* data = faulty.data_ptr<float>();
    for (std::size_t i = 0; i < places.size(); ++i) data[places[i]] = values[i];
    return faulty;
  }
  const auto count = static_cast<std::int64_t>(places.size());
  const at::Tensor where = at::from_blob(places.data(), {count}, at::kLong).to(faulty.device());
  const at::Tensor what = at::from_blob(values.data(), {count}, at::kFloat).to(faulty.device());
  faulty.as_strided({faulty.numel()}, {1}).index_copy_(0, where, what);
  return faulty;
}

// The table at the first step that reads the site, with the pass's faults in it.
Slots Engine::State::faulty_slots(const Front& front, std::int32_t site, const Pass& pass) const {
  const at::Tensor faulty = faulty_value(site, site_value(front, site), pass);
  Slots slots = model.program().fork(front.slots, model.first_step(site));
  for (const int slot : model.slots(site)) slots[static_cast<std::size_t>(slot)] = faulty;
  return slots;
}

at::Tensor Engine::State::run_pass(const Front& front, std::int32_t site, const Pass& pass) const {
  Slots slots = faulty_slots(front, site, pass);
  run(slots, model.first_step(site), steps(), true);
  return model.program().output(slots);
}

// The live values that are not golden's own, if the trials of different passes can be put together
// again here: every such value must be an activation that lies image by image.
std::optional<std::vector<int>> Engine::State::changed_slots(const Slots& slots,
                                                             const Front& front) const {
  std::vector<int> changed;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const c10::IValue& mine = slots[i];
    const c10::IValue& golden = front.slots[i];
    if (mine.isNone() || mine.is(golden)) continue;
    if (!mine.isTensor()) {
      if (mine.isInt() || mine.isDouble() || mine.isBool() || mine.isIntList()) continue;
      return std::nullopt;
    }
    if (!golden.isTensor() || i >= by_row.size() || !by_row[i]) return std::nullopt;
    const at::Tensor& value = mine.toTensor();
    if (!value.defined() || value.dim() == 0 || value.size(0) != batch() ||
        value.sizes() != golden.toTensor().sizes()) {
      return std::nullopt;
    }
    changed.push_back(static_cast<int>(i));
  }
  return changed;
}

bool Engine::State::row_differs(const Slots& slots, const Front& front,
                                std::span<const int> changed, std::int64_t row) const {
  for (const int slot : changed) {
    const at::Tensor& mine = slots[static_cast<std::size_t>(slot)].toTensor();
    const at::Tensor& golden = front.slots[static_cast<std::size_t>(slot)].toTensor();
    const float* a = by_image(mine, golden);
    const float* b = by_image(golden, golden);
    if (a && b) {
      const auto size = static_cast<std::size_t>(mine.stride(0));
      if (!same_bits({a + static_cast<std::size_t>(row) * size, size},
                     {b + static_cast<std::size_t>(row) * size, size})) {
        return true;
      }
      continue;
    }
    const at::Tensor same = mine.select(0, row).contiguous().view(at::kInt) ==
                            golden.select(0, row).contiguous().view(at::kInt);
    if (!same.all().item<bool>()) return true;
  }
  return false;
}

void Engine::State::finish_pass(const Pass& pass, const at::Tensor& logits,
                                const Done& done) const {
  ++costs.passes;
  costs.rows += static_cast<std::int64_t>(pass.size());
  for (const Ready* one : pass) done(*one, row_of(logits, one->row));
}

void Engine::State::run_to_end(int from, const std::vector<Pass>& passes, const Begin& begin,
                               const Done& done, const std::atomic<bool>& stop) const {
  for (const Pass& pass : passes) {
    if (stop) return;
    Slots slots = begin(pass);
    run(slots, from, steps(), true);
    finish_pass(pass, model.program().output(slots), done);
  }
}

// Runs passes from step `from` on. While it pays, stops before the next expensive step: trials
// whose row is golden's there are finished, and those left are packed anew, into fewer passes.
void Engine::State::run_wave(const Front& front, int from, const std::vector<Pass>& passes,
                             const Begin& begin, const Done& done, bool look,
                             const std::atomic<bool>& stop) const {
  constexpr std::int64_t kMostBytes = std::int64_t{256} << 20;  // of rows that wait at a cut
  std::vector<int> cuts;
  for (int step = from + 1; look && step < steps() && cuts.size() < 3; ++step) {
    if (is_expensive(model.program().steps()[static_cast<std::size_t>(step)])) cuts.push_back(step);
  }
  if (cuts.empty()) return run_to_end(from, passes, begin, done, stop);

  std::map<const Ready*, Rows> waiting;
  std::vector<const Ready*> order;
  std::vector<int> changed;
  std::int64_t bytes = 0, met = 0, died = 0;
  int cut = 0;
  const auto go_on = [&] {
    if (order.empty()) return;
    const std::vector<Pass> packed = pack_rows(order);
    const Begin from_cut = [&](const Pass& pass) {
      Slots slots = model.program().fork(front.slots, cut);
      for (std::size_t i = 0; i < changed.size(); ++i) {
        c10::IValue& slot = slots[static_cast<std::size_t>(changed[i])];
        at::Tensor value = slot.toTensor().clone(at::MemoryFormat::Preserve);
        for (const Ready* one : pass) value.select(0, one->row).copy_(waiting.at(one)[i]);
        slot = value;
      }
      return slots;
    };
    const bool paid = died * 10 >= met || packed.size() * 10 <= passes.size() * 9;
    run_wave(front, cut, packed, from_cut, done, paid && packed.size() > 1, stop);
    waiting.clear();
    order.clear();
    bytes = 0;
  };
  for (const Pass& pass : passes) {
    if (stop) return;
    Slots slots = begin(pass);
    int at = from;
    std::optional<std::vector<int>> here;
    for (std::size_t i = 0; i < cuts.size() && !here; ++i) {
      run(slots, at, cuts[i], true);
      at = cuts[i];
      here = changed_slots(slots, front);
    }
    if (!here) {
      run(slots, at, steps(), true);
      finish_pass(pass, model.program().output(slots), done);
      continue;
    }
    if (!order.empty() && (at != cut || *here != changed)) go_on();
    cut = at;
    changed = *here;
    for (const Ready* one : pass) {
      ++met;
      if (!row_differs(slots, front, changed, one->row)) {
        ++died;
        ++costs.died;
        done(*one, row_of(front.logits, one->row));
        continue;
      }
      Rows rows;
      for (const int slot : changed) {
        rows.push_back(
            slots[static_cast<std::size_t>(slot)].toTensor().select(0, one->row).clone());
        bytes += static_cast<std::int64_t>(rows.back().nbytes());
      }
      waiting.emplace(one, std::move(rows));
      order.push_back(one);
    }
    if (bytes > kMostBytes) go_on();
  }
  go_on();
}

// The oracle: the whole network from the image, the fault put in on the way.
at::Tensor Engine::State::run_whole(const Front& front, std::int32_t site, const Pass& pass) const {
  const int first = model.first_step(site);
  Slots slots = start(front.input, true);
  run(slots, 0, first, true);
  const at::Tensor golden = model.sites()[static_cast<std::size_t>(site)].target == Target::kWeight
                                ? emulated_parameters[static_cast<std::size_t>(site)]
                                : slots[static_cast<std::size_t>(model.slots(site)[0])].toTensor();
  const at::Tensor faulty = faulty_value(site, golden, pass);
  for (const int slot : model.slots(site)) slots[static_cast<std::size_t>(slot)] = faulty;
  run(slots, first, steps(), true);
  return model.program().output(slots);
}

TrialResult Engine::State::result_of(const Ready& ready, const at::Tensor& golden,
                                     std::span<const float> faulty, const Measure& measure) const {
  const auto clean = row_of(golden, ready.row);
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

Engine::Engine(const Model& model, const Dataset& dataset, const SiteFormats& formats,
               EngineOptions options)
    : state_(std::make_unique<State>(model, dataset, formats, std::move(options))) {
  state_->profiles.resize(model.sites().size());
  state_->fp32.resize(static_cast<std::size_t>(dataset.size()));
  state_->prepare_hooks();
}

Engine::~Engine() = default;

const std::vector<SiteProfile>& Engine::profiles() const { return state_->profiles; }

void Engine::set_profiles(std::vector<SiteProfile> profiles) {
  const c10::InferenceMode guard;
  state_->profiles = std::move(profiles);
  state_->profiles.resize(state_->model.sites().size());
  state_->emulate_parameters();
}

std::int64_t Engine::images_to_profile(std::int64_t most_images) const {
  const std::int64_t all = state_->dataset.size();
  std::int64_t wanted = all;
  if (!state_->every_image()) wanted = state_->calibrated ? state_->learning_images() : 0;
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
    const at::Tensor input = state.load_chunk(chunk);
    Slots slots = state.start(input, false);
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
    if (state.input_emulated) look(0);
    int done = 0;
    for (int step = 0; step < state.steps(); ++step) {
      if (state.hook[static_cast<std::size_t>(step)] < 0) continue;
      state.model.program().run(slots, done, step + 1);
      done = step + 1;
      look(state.hook[static_cast<std::size_t>(step)]);
    }
    state.model.program().run(slots, done, state.steps());
    state.note_fp32(chunk, state.model.program().output(slots));
    if (tick) tick(std::min<std::int64_t>((chunk + 1) * state.batch(), wanted));
  }
  for (const std::int32_t site : state.options.emulated) {
    const auto index = static_cast<std::size_t>(site);
    if (state.model.sites()[index].target == Target::kWeight) {
      observe(observers[index], state.model.parameter(site));
      observe(all[index], state.model.parameter(site));
    }
    const bool seen_all = every_image || state.model.sites()[index].target == Target::kWeight;
    state.profiles[index].golden = (seen_all ? all : observers)[index].golden();
    state.calibrate(site, observers[index]);
  }
  state.emulate_parameters();
  return true;
}

void Engine::preload(const std::atomic<bool>& stop) {
  const c10::InferenceMode guard;
  for (std::int32_t image = 0; image < state_->dataset.size() && !stop; ++image) {
    state_->image(image);
    if (state_->images.count(image) == 0) return;  // the cache is full
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
  std::vector<std::vector<std::int64_t>> by_chunk(static_cast<std::size_t>(state.deal.count()));
  for (std::int64_t id = 0; id < plan.size(); ++id) {
    if (static_cast<std::size_t>(id) < done.size() && done[static_cast<std::size_t>(id)]) continue;
    by_chunk[static_cast<std::size_t>(state.deal.chunk_of(plan.trial(id).image))].push_back(id);
  }
  EngineProgress count;
  EngineCosts& costs = state.costs;
  costs = {};
  const Timer total(costs.total_s);
  const auto finish = [&](const Ready& one, const at::Tensor& golden,
                          std::span<const float> faulty) {
    const Timer timer(costs.results_s);
    const TrialResult result = state.result_of(one, golden, faulty, measure);
    sink.trial(result);
    ++count.done;
    count.mismatches += result.outcome >= Outcome::kTop1Changed ? 1 : 0;
  };
  for (std::int64_t chunk = 0; chunk < state.deal.count(); ++chunk) {
    if (stop) return false;
    if (!state.in_shard(chunk)) continue;
    const std::int64_t images = state.deal.size(chunk);
    bool rows_missing = false;
    for (std::int64_t row = 0; row < images; ++row) {
      const auto image = static_cast<std::size_t>(state.deal.image(chunk, row));
      rows_missing |= image >= golden_done.size() || !golden_done[image];
    }
    const auto& ids = by_chunk[static_cast<std::size_t>(chunk)];
    if (ids.empty() && !rows_missing) continue;
    const at::Tensor input = state.load_chunk(chunk);
    const double emulation = costs.emulation_s;
    const auto start = Clock::now();
    State::Front front = state.golden_front(input);
    ++costs.chunks;
    costs.golden_s += seconds_since(start) - (costs.emulation_s - emulation);
    if (front.logits.size(1) <= 0) throw Error(ExitCode::kInput, "the model gives no logits");
    if (rows_missing) {
      if (state.exact) {
        state.note_fp32(chunk, front.logits);
      } else if (!state.fp32[static_cast<std::size_t>(state.deal.image(chunk, images - 1))]) {
        const Timer timer(costs.golden_s);
        state.note_fp32(chunk, state.fp32_logits(input));
      }
      for (std::int64_t row = 0; row < images; ++row) {
        const std::int32_t image = state.deal.image(chunk, row);
        const auto logits = row_of(front.logits, row);
        const auto& plain = *state.fp32[static_cast<std::size_t>(image)];
        sink.golden({image, cross_entropy(logits, state.dataset.label(image)), top1(logits),
                     static_cast<float>(top2diff(logits)), plain.loss, plain.top1});
      }
    }
    std::map<std::int32_t, std::vector<std::int64_t>> by_site;
    for (const std::int64_t id : ids) by_site[plan.trial(id).site].push_back(id);
    std::vector<std::int32_t> sites;
    for (const auto& [site, _] : by_site) sites.push_back(site);
    for (const std::int32_t site : state.in_network_order(std::move(sites))) {
      state.advance(front, state.model.first_step(site));
      std::vector<Ready> ready;
      {
        const Timer timer(costs.injection_s);
        ready = state.prepare(plan, site, by_site[site], front);
      }
      // Trials that change nothing are masked; of those that change the same, one is run.
      std::vector<const Ready*> wanted;
      std::map<std::pair<std::int64_t, std::vector<std::uint64_t>>, std::vector<const Ready*>> same;
      std::map<const Ready*, const std::vector<const Ready*>*> twins;
      for (const Ready& one : ready) {
        if (one.injection.changes.empty()) {
          ++costs.unchanged;
          finish(one, front.logits, row_of(front.logits, one.row));
          continue;
        }
        if (!state.options.share) {
          wanted.push_back(&one);
          continue;
        }
        auto& group = same[{one.row, key_of(one.injection.changes)}];
        if (group.empty()) {
          wanted.push_back(&one);
          twins[&one] = &group;
        } else {
          ++costs.shared;
        }
        group.push_back(&one);
      }
      const State::Done done = [&](const Ready& one, std::span<const float> logits) {
        if (!state.options.share) return finish(one, front.logits, logits);
        for (const Ready* twin : *twins.at(&one)) finish(*twin, front.logits, logits);
      };
      const std::vector<Pass> passes = state.pack(site, wanted);
      const double before = costs.emulation_s + costs.results_s;
      const auto start = Clock::now();
      if (!state.options.suffix) {
        for (const Pass& pass : passes) {
          if (stop) return false;
          state.finish_pass(pass, state.run_whole(front, site, pass), done);
          if (progress) progress(count);
        }
      } else {
        const State::Begin begin = [&](const Pass& pass) {
          if (progress) progress(count);
          return state.faulty_slots(front, site, pass);
        };
        // One pass cannot become fewer, and looking costs.
        const bool look = state.options.early_stop && front.kept && passes.size() > 1;
        state.run_wave(front, state.model.first_step(site), passes, begin, done, look, stop);
      }
      costs.suffix_s += seconds_since(start) - (costs.emulation_s + costs.results_s - before);
      if (stop) return false;
      if (progress) progress(count);
    }
  }
  return true;
}

TrialResult Engine::run_one(const Plan& plan, std::int64_t id, const Measure& measure) {
  const c10::InferenceMode guard;
  State& state = *state_;
  const Trial trial = plan.trial(id);
  const at::Tensor input = state.load_chunk(state.deal.chunk_of(trial.image));
  State::Front front = state.golden_front(input);
  state.advance(front, state.model.first_step(trial.site));
  const std::vector<Ready> ready = state.prepare(plan, trial.site, std::span(&id, 1), front);
  if (ready[0].injection.changes.empty()) {
    return state.result_of(ready[0], front.logits, row_of(front.logits, ready[0].row), measure);
  }
  const Pass pass = {&ready[0]};
  const at::Tensor logits = state.options.suffix ? state.run_pass(front, trial.site, pass)
                                                 : state.run_whole(front, trial.site, pass);
  return state.result_of(ready[0], front.logits, row_of(logits, ready[0].row), measure);
}

const EngineCosts& Engine::costs() const { return state_->costs; }

double Engine::estimate_seconds(const Plan& plan) {
  const c10::InferenceMode guard;
  State& state = *state_;
  const at::Tensor input = state.load_chunk(0);
  std::vector<double> behind(static_cast<std::size_t>(state.steps()) + 1, 0);
  for (int round = 0; round < 2; ++round) {  // the second is warm
    Slots slots = state.start(input, true);
    std::vector<double> took(static_cast<std::size_t>(state.steps()), 0);
    for (int step = 0; step < state.steps(); ++step) {
      const auto start = Clock::now();
      state.run(slots, step, step + 1, true);
      took[static_cast<std::size_t>(step)] = seconds_since(start);
    }
    behind.back() = 0;
    for (int step = state.steps() - 1; step >= 0; --step) {
      behind[static_cast<std::size_t>(step)] =
          behind[static_cast<std::size_t>(step) + 1] + took[static_cast<std::size_t>(step)];
    }
  }
  double seconds = 2 * behind[0] * static_cast<double>(state.deal.count());
  for (const Stratum& stratum : plan.strata()) {
    const bool weight =
        state.model.sites()[static_cast<std::size_t>(stratum.site)].target == Target::kWeight;
    const int from = state.options.suffix ? state.model.first_step(stratum.site) : 0;
    const auto trials = static_cast<double>(stratum.trials);
    const double full = std::ceil(trials / static_cast<double>(state.batch()));
    if (!weight) {
      seconds += full * behind[static_cast<std::size_t>(from)];
      continue;
    }
    // A pass for each fault in a chunk up to the next cut, and behind it full ones.
    int cut = state.steps();
    for (int step = from + 1; state.options.early_stop && step < state.steps(); ++step) {
      if (!is_expensive(state.model.program().steps()[static_cast<std::size_t>(step)])) continue;
      cut = step;
      break;
    }
    const double alone =
        stratum.permanent ? trials / state.dataset.size() * static_cast<double>(state.deal.count())
                          : trials;
    seconds +=
        alone * (behind[static_cast<std::size_t>(from)] - behind[static_cast<std::size_t>(cut)]) +
        std::min(alone, full) * behind[static_cast<std::size_t>(cut)];
  }
  return seconds;
}

}  // namespace bitfall
