// Runs trials. Chunks of `batch` images are worked through in groups: golden once, then site by
// site what the site's faults can reach, first by the windows that they have reached, then in
// passes of only the steps behind, with up to `batch` different faults, one an image row. No value
// of the model is ever written to, and no shortcut changes a bit of a result.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "bitfall/metric.h"
#include "dataset.h"
#include "engine_costs.h"
#include "model.h"
#include "outcome.h"
#include "plan.h"
#include "run_settings.h"

namespace bitfall {

struct EngineOptions : RunSettings {
  std::vector<std::int32_t>
      emulated;               // sites whose values pass through the format, golden and faulty alike
  bool needs_ranges = false;  // profile golden ranges even if no format calibrates
  bool as_on_device = false;  // treat values on the CPU as those on a GPU are (for tests)
};

struct EngineProgress {
  std::int64_t done = 0;        // trials stored so far in this call
  std::int64_t mismatches = 0;  // of them, top-1 changed or non-finite
};

/// The largest campaign of which Engine::estimate_seconds runs a part.
inline constexpr std::int64_t kMostPiloted = 4'000'000;

/// A metric as the engine calls it: `values` in the order of all metrics' columns.
using Measure = std::function<void(const Observation&, std::vector<double>& values)>;

class Engine {
 public:
  /// Borrows everything; the formats and the dataset must outlive the engine.
  Engine(const Model& model, const Dataset& dataset, const SiteFormats& formats,
         EngineOptions options);
  ~Engine();

  /// Golden FP32 pass over all images if a format calibrates, hit values are clamped or
  /// needs_ranges: fills profiles(). Otherwise profiles() of weights only. `tick(images done)`
  /// after each chunk; stops early (profiles unusable, returns false) when `stop` becomes true.
  /// `most_images`: look at no more than the chunks that hold these (0 = all), for an estimate.
  bool profile(const std::atomic<bool>& stop, const std::function<void(std::int64_t)>& tick,
               std::int64_t most_images = 0);
  /// How many images profile() will look at; 0 if it needs none.
  std::int64_t images_to_profile(std::int64_t most_images = 0) const;
  const std::vector<SiteProfile>& profiles() const;
  /// Decodes images ahead, up to 1 GiB of them, so that a broken one is found before anything is
  /// run or written.
  void preload(const std::atomic<bool>& stop);
  /// Uses stored profiles instead (resume, replay).
  void set_profiles(std::vector<SiteProfile> profiles);

  /// Keeps run() to one of `count` parts of the campaign: every count-th chunk of images from
  /// `index` on. Throws Error(kUsage) where there are fewer chunks than parts.
  void set_shard(std::int64_t index, std::int64_t count);
  /// Trials of the plan that run() sees to.
  std::int64_t trials(const Plan& plan) const;

  /// Runs every trial of the plan that is not done, and gives each image's golden row to the sink
  /// unless `golden_done[image]`. Returns false if `stop` became true first.
  bool run(const Plan& plan, const std::vector<bool>& done, const std::vector<bool>& golden_done,
           const Measure& measure, ResultSink& sink, const std::atomic<bool>& stop,
           const std::function<void(const EngineProgress&)>& progress);

  /// Of the last run().
  const EngineCosts& costs() const;

  /// One trial, in the same row of the same chunk as in the campaign.
  TrialResult run_one(const Plan& plan, std::int64_t trial, const Measure& measure);

  /// Seconds that run() will take, extrapolated from a part of the trials, which are run here (for
  /// seconds; half a minute with a ResNet-50) and forgotten. Of more than kMostPiloted trials: the
  /// seconds that it will take at most, if no trial shares a pass or ends early. Nothing if `stop`
  /// became true first.
  std::optional<double> estimate_seconds(const Plan& plan, const Measure& measure,
                                         const std::atomic<bool>& stop);

 private:
  struct State;
  struct Run;
  class Worker;
  std::unique_ptr<State> state_;
};

/// Cross-entropy of one row of logits against a label: natural log, float64. NaN if a logit is NaN
/// or the largest is infinite (as torch's), Inf if the label's logit is -Inf.
double cross_entropy(std::span<const float> logits, std::int64_t label);

/// torch.argmax: the first largest; NaN counts as largest.
std::int32_t top1(std::span<const float> logits);

/// Largest minus second largest softmax probability, float64.
double top2diff(std::span<const float> logits);

}  // namespace bitfall
