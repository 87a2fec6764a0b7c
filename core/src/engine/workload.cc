#include "workload.h"

#include <c10/core/InferenceMode.h>

#include <atomic>
#include <utility>

#include "answer.h"
#include "worker_threads.h"

namespace bitfall {

Workload::Workload(const Model& model, const Dataset& dataset, const SiteFormats& formats,
                   const EngineOptions& options)
    : dataset_(dataset),
      emulated_(model, formats, options.emulated, options.as_on_device),
      chunks_(options.seed, dataset.size(), model.batch()),
      images_(std::make_shared<ImageCache>(dataset)),
      answer_(options.answer),
      guarding_(options.guarding),
      fp32_(static_cast<std::size_t>(dataset.size())) {}

void Workload::set_profiles(std::vector<SiteProfile> profiles) {
  emulated_.set_profiles(std::move(profiles));
  step_costs_.reset();
  measured_.clear();
}

const StepCosts& Workload::step_costs() {
  if (!step_costs_) {
    const c10::InferenceMode guard;
    const RowImages images = chunks_.images(0);
    step_costs_ = measure_pass(emulated_, load(images), images, 0).costs;
  }
  return *step_costs_;
}

void Workload::measure_on(std::span<const std::int64_t> chunks, std::int64_t budget) {
  // What is guarded is noted, once, where golden values are made; what is kept is not made anew.
  if (step_costs_ || guarding_ != nullptr || (keep_ && keep_->of(chunks.front()))) return;
  std::atomic<std::size_t> next = 0;
  run_on(static_cast<std::int64_t>(chunks.size()), [&] {
    const c10::InferenceMode guard;
    const std::int64_t chunk = chunks[next++];
    const RowImages images = chunks_.images(chunk);
    MeasuredPass pass = measure_pass(emulated_, load(images), images, budget);
    const std::lock_guard lock(measured_mutex_);
    measured_.emplace(chunk, std::move(pass));
  });
  step_costs_ = measured_.at(chunks.front()).costs;
}

at::Tensor Workload::load(const RowImages& images) {
  return images_->batch(images).to(c10::Device(model().device()));
}

GoldenChunk Workload::golden(std::int64_t chunk, std::int64_t budget, EngineCosts& costs) {
  RowImages images = chunks_.images(chunk);
  const at::Tensor input = load(images);
  ++costs.chunks;
  std::optional<MeasuredPass> measured;
  {
    const std::lock_guard lock(measured_mutex_);
    if (auto found = measured_.extract(chunk)) measured = std::move(found.mapped());
  }
  GoldenChunk golden(emulated_, step_costs(), chunk, input, std::move(images), budget, keep_.get(),
                     costs, std::move(measured));
  if (guarding_ != nullptr && guarding_->answer != nullptr) {
    golden.guard_answer(*guarding_->answer);
  }
  return golden;
}

void Workload::begin_beside(Workload& without) {
  images_ = without.images_;
  keep_ = without.keep_;
  ways_ = without.ways_;
  emulated_.share_parameters(without.emulated_);
}

const std::optional<Workload::Fp32Answer>& Workload::fp32(std::int32_t image) const {
  return fp32_[static_cast<std::size_t>(image)];
}

void Workload::note_fp32(const RowImages& images, const at::Tensor& logits) {
  for (std::size_t row = 0; row < images.size(); ++row) {
    auto& answer = fp32_[static_cast<std::size_t>(images[row])];
    if (answer) continue;
    const auto values = row_of(logits, static_cast<std::int64_t>(row));
    answer = Fp32Answer{loss_of(values, dataset_.label(images[row]), answer_), top1(values)};
  }
}

void Workload::know_fp32(const std::vector<GoldenResult>& known) {
  for (const GoldenResult& one : known) {
    auto& answer = fp32_.at(static_cast<std::size_t>(one.image));
    if (!answer) answer = Fp32Answer{one.fp32_loss, one.fp32_top1};
  }
}

}  // namespace bitfall
