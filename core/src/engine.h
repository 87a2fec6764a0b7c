// Runs trials. Per chunk of `batch` images: golden once, then for each site only the steps behind
// it, with up to `batch` different faults a pass, one an image row. An image keeps its row in every
// pass, since a row's bits may depend on the row and on the batch's shape. No value of the model is
// ever written to.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "bitfall/metric.h"
#include "dataset.h"
#include "model.h"
#include "outcome.h"
#include "plan.h"

namespace bitfall {

struct EngineOptions {
  std::uint64_t seed = 1;  // deals the images into chunks
  bool suffix = true;  // false: every pass runs the whole network from the image (the oracle of the
                       // fast path)
  bool early_stop = true;  // finish a trial where its damage has died out, and pack those left anew
  bool share = true;       // run trials that change the same values in the same image once
  HitValue hit_value = HitValue::kRaw;
  std::vector<std::int32_t>
      emulated;               // sites whose values pass through the format, golden and faulty alike
  bool needs_ranges = false;  // profile golden ranges even if no format calibrates
  Calibration calibration;    // of the formats that do
  bool round_on_device = false;  // with LibTorch on the CPU too, as on a GPU (for tests)
  std::int64_t keep_bytes =
      std::int64_t{2} << 30;  // golden values of a chunk are kept up to this size, else recomputed
};

/// Where the time of a run went, and what was spared.
struct EngineCosts {
  double total_s = 0;
  double golden_s = 0;     // golden passes, without emulation
  double suffix_s = 0;     // steps behind faults, without emulation
  double emulation_s = 0;  // putting values through number formats
  double injection_s = 0;  // drawing edits; encoding, editing and decoding hit values
  double results_s = 0;    // metrics and the store
  std::int64_t chunks = 0;
  std::int64_t unchanged = 0;  // trials whose fault changed no value: no run
  std::int64_t shared = 0;     // trials that took the result of one that changed the same
  std::int64_t died = 0;       // trials whose damage was gone before an expensive step
  std::int64_t passes = 0;     // passes run to the end
  std::int64_t rows = 0;       // trials in them
};

struct EngineProgress {
  std::int64_t done = 0;        // trials stored so far in this call
  std::int64_t mismatches = 0;  // of them, top-1 changed or non-finite
};

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

  /// Seconds that the plan will take, from one timed golden pass.
  double estimate_seconds(const Plan& plan);

 private:
  struct State;
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
