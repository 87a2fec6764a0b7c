#include "profile.h"

#include <c10/util/Half.h>

#include <algorithm>
#include <span>
#include <utility>

#include "image_cache.h"
#include "program.h"

namespace bitfall {
namespace {

void observe(RangeObserver& observer, const at::Tensor& values) {
  const at::Tensor flat = values.to(at::kCPU, at::kFloat).contiguous();
  observer.add({flat.const_data_ptr<float>(), static_cast<std::size_t>(flat.numel())});
}

/// Rounded to FP16, to the even neighbour; Inf beyond its largest number.
float to_fp16(float value) { return static_cast<float>(c10::Half(value)); }

}  // namespace

Profiler::Profiler(Workload& workload, const EngineOptions& options, std::int64_t most_images,
                   const Dataset* others)
    : workload_(workload),
      options_(options),
      others_(others),
      every_image_(options.needs_ranges || options.hit_value == HitValue::kClamped) {
  const std::int64_t all = (others == nullptr ? workload.dataset() : *others).size();
  const std::int64_t asked = options.calibration.images;
  learning_ = asked == 0 ? all : std::min(asked, all);
  images_ = every_image_ ? all : workload.emulated().calibrated() ? learning_ : 0;
  if (most_images > 0) images_ = std::min(images_, most_images);
}

// Those of sites that are not emulated are never used.
std::vector<RangeObserver> Profiler::observers() const {
  std::vector<RangeObserver> observers;
  const auto& sites = workload_.model().sites();
  for (std::size_t i = 0; i < sites.size(); ++i) {
    const NumberFormat& format = workload_.emulated().formats().of(static_cast<std::int32_t>(i));
    const bool fits = format.calibrated() && format.refusal(sites[i].shape) == nullptr;
    observers.emplace_back(sites[i].shape, fits ? format.range_axis(sites[i].shape) : -1,
                           options_.calibration);
  }
  return observers;
}

// Of the pass's first images `learning` are learned from, and `count` looked at.
void Profiler::observe_site(std::int32_t site, const Slots& slots, std::int64_t learning,
                            std::int64_t count) {
  const auto index = static_cast<std::size_t>(site);
  const int slot = workload_.model().slots(site)[0];
  const at::Tensor& value = slots[static_cast<std::size_t>(slot)].toTensor();
  const at::Tensor images = by_image(value, workload_.model().images(slot));
  if (learning > 0) observe(learned_[index], images.narrow(0, 0, learning));
  if (every_image_) observe(all_[index], images.narrow(0, 0, count));
}

void Profiler::observe_chunk(std::int64_t chunk) {
  const ImageChunks& chunks = workload_.chunks();
  const std::int64_t learning = std::clamp<std::int64_t>(
      learning_ - chunk * workload_.model().batch(), 0, chunks.size(chunk));
  const RowImages images = chunks.images(chunk);
  workload_.note_fp32(images, observe_pass(workload_.load(images), learning, chunks.size(chunk)));
}

void Profiler::observe_others(std::int64_t first) {
  const std::int64_t batch = workload_.model().batch();
  const std::int64_t count = std::min(batch, others_->size() - first);
  const at::Tensor images = images_from(*others_, static_cast<std::int32_t>(first), batch);
  observe_pass(images.to(c10::Device(workload_.model().device())), count, count);
}

// The answer.
at::Tensor Profiler::observe_pass(const at::Tensor& images, std::int64_t learning,
                                  std::int64_t count) {
  const EmulatedModel& emulated = workload_.emulated();
  const Program& program = workload_.model().program();
  Slots slots = emulated.start_plain(images);
  if (emulated.input_emulated()) observe_site(0, slots, learning, count);
  const int steps = static_cast<int>(program.steps().size());
  int done = 0;
  for (int step = 0; step < steps; ++step) {
    if (emulated.site_of_step(step) < 0) continue;
    program.run(slots, done, step + 1);
    done = step + 1;
    observe_site(emulated.site_of_step(step), slots, learning, count);
  }
  program.run(slots, done, steps);
  return program.output(slots);
}

SiteProfile Profiler::profile_of(std::int32_t site) {
  const auto index = static_cast<std::size_t>(site);
  const bool weight = workload_.model().is_weight(site);
  if (weight) {
    observe(learned_[index], workload_.model().parameter(site));
    observe(all_[index], workload_.model().parameter(site));
  }
  SiteProfile profile;
  profile.golden = (every_image_ || weight ? all_ : learned_)[index].golden();
  if (options_.calibration.round == BoundRounding::kFp16) {
    profile.golden = {to_fp16(profile.golden.minimum), to_fp16(profile.golden.maximum)};
  }
  const NumberFormat& format = workload_.emulated().formats().of(site);
  if (format.calibrated()) {
    const auto& shape = workload_.model().sites()[index].shape;
    profile.metadata.resize(static_cast<std::size_t>(metadata_size(format, shape)));
    ranges_[index] = learned_[index].ranges();
    format.calibrate(ranges_[index], shape, profile.metadata);
  }
  return profile;
}

std::optional<std::vector<SiteProfile>> Profiler::profile(
    const std::atomic<bool>& stop, const std::function<void(std::int64_t)>& tick) {
  learned_ = observers();
  all_ = observers();
  const std::int64_t batch = workload_.model().batch();
  const std::int64_t chunks = (images_ + batch - 1) / batch;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    if (stop) return std::nullopt;
    if (others_ == nullptr) {
      observe_chunk(chunk);
    } else {
      observe_others(chunk * batch);
    }
    if (tick) tick(std::min((chunk + 1) * batch, images_));
  }
  std::vector<SiteProfile> profiles(workload_.model().sites().size());
  ranges_.assign(profiles.size(), {});
  for (const std::int32_t site : options_.emulated) {
    profiles[static_cast<std::size_t>(site)] = profile_of(site);
  }
  return profiles;
}

}  // namespace bitfall
