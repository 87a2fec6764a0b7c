// What faults are injected into: a network whose values pass through their number formats, and the
// images that it is run on, dealt into chunks.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "dataset.h"
#include "emulated_model.h"
#include "engine_costs.h"
#include "engine_options.h"
#include "golden.h"
#include "golden_keep.h"
#include "image_cache.h"
#include "image_chunks.h"
#include "model.h"
#include "window_calls.h"

namespace bitfall {

/// Shared by the workers of a run. Thread-safe but for set_profiles(), the first step_costs() and
/// measure_on().
class Workload {
 public:
  /// Borrows model, dataset and formats.
  Workload(const Model& model, const Dataset& dataset, const SiteFormats& formats,
           const EngineOptions& options);

  const Model& model() const { return emulated_.model(); }
  const EmulatedModel& emulated() const { return emulated_; }
  const Dataset& dataset() const { return dataset_; }
  const ImageChunks& chunks() const { return chunks_; }
  ImageCache& images() { return *images_; }
  WindowWays& ways() { return *ways_; }
  /// Keeps fault-free values of this run from here on, up to so many bytes.
  void keep_golden(std::int64_t bytes) {
    if (!keep_) keep_ = std::make_shared<GoldenKeep>(emulated_, bytes);
  }
  /// Takes images, kept values and ways of windows from the same workload without a protection.
  /// Borrows it.
  void begin_beside(Workload& without);

  /// Calibrated metadata and golden ranges, by site.
  void set_profiles(std::vector<SiteProfile> profiles);
  /// Measured when first asked for after set_profiles().
  const StepCosts& step_costs();
  /// The same, measured on chunks whose golden() is asked for soon, in a thread for each; then no
  /// pass is run for them there.
  void measure_on(std::span<const std::int64_t> chunks, std::int64_t budget);

  /// A chunk's images on the model's device.
  at::Tensor load(const RowImages& images);
  /// A chunk's fault-free values; `budget` as in GoldenChunk.
  GoldenChunk golden(std::int64_t chunk, std::int64_t budget, EngineCosts& costs);

  /// The answer of the network in plain FP32.
  struct Fp32Answer {
    double loss = 0;
    std::int32_t top1 = 0;
  };
  /// Of an image, once it is known. Two threads may not note the same image.
  const std::optional<Fp32Answer>& fp32(std::int32_t image) const;
  void note_fp32(const RowImages& images, const at::Tensor& logits);
  void know_fp32(const std::vector<GoldenResult>& known);

 private:
  const Dataset& dataset_;
  EmulatedModel emulated_;
  ImageChunks chunks_;
  std::shared_ptr<ImageCache> images_;
  std::shared_ptr<GoldenKeep> keep_;
  std::shared_ptr<WindowWays> ways_ = std::make_shared<WindowWays>();
  AnswerKind answer_;
  const Guarding* guarding_;
  std::vector<std::optional<Fp32Answer>> fp32_;  // by image
  std::optional<StepCosts> step_costs_;
  std::mutex measured_mutex_;
  std::map<std::int64_t, MeasuredPass> measured_;  // by chunk, until they are taken
};

}  // namespace bitfall
