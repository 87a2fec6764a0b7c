// Runs trials. Chunks of `batch` images are worked through in groups: golden once, then site by
// site what the site's faults can reach, first by the windows that they have reached, then in
// passes of only the steps after them, with up to `batch` different faults, one per image row. No
// value of the model is ever written to, and no shortcut changes a bit of a result.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataset.h"
#include "engine_costs.h"
#include "engine_options.h"
#include "measurer.h"
#include "model.h"
#include "outcome.h"
#include "plan.h"
#include "shard.h"

namespace bitfall {

/// The largest campaign of which Engine::estimate_seconds runs a part.
inline constexpr std::int64_t kMostPiloted = 4'000'000;

class EmulatedModel;

/// An image's slab of a site in the order of its shape, as numbers and as payload codes (empty
/// where not asked for). Of a parameter the image is 0.
using TakeValues = std::function<void(std::int32_t image, std::span<const float> values,
                                      std::span<const std::uint32_t> codes)>;

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
  /// `others`: images of the model's shape to look at in place of the campaign's, if not null.
  bool profile(const std::atomic<bool>& stop, const std::function<void(std::int64_t)>& tick,
               std::int64_t most_images = 0, const Dataset* others = nullptr);
  /// Where faults are drawn by the values that they find (EngineOptions::counted_bits): one pass in
  /// the formats over all images, which counts them into profiles(). After profile(). Returns false
  /// if `stop` became true first.
  bool count_values(const std::atomic<bool>& stop, const std::function<void(std::int64_t)>& tick);
  /// How many images profile() will look at; 0 if it needs none.
  std::int64_t images_to_profile(std::int64_t most_images = 0,
                                 const Dataset* others = nullptr) const;
  const std::vector<SiteProfile>& profiles() const;
  /// The first site at which this engine's formats, calibrated by what the other's profile() has
  /// learned, in the reverse order of sites, have another metadata than that one's; -1 where none
  /// has. The other has the same model and formats.
  std::int32_t site_calibrated_otherwise(const Engine& other) const;
  /// The network as it is run: its values pass through their formats.
  const EmulatedModel& emulated() const;
  /// Decodes images ahead, up to 1 GiB of them, so that a broken one is found before anything is
  /// run or written.
  void preload(const std::atomic<bool>& stop);
  /// Shows the values of a site that is emulated, by image (show_site_values), after profile().
  bool site_values(std::int32_t site, std::int32_t images, bool with_codes,
                   const std::atomic<bool>& stop, const TakeValues& take,
                   const std::function<void(std::int64_t)>& tick);
  /// Uses stored profiles instead (resume, replay).
  void set_profiles(std::vector<SiteProfile> profiles);

  /// Keeps run() to one part of the campaign (ShardPart), of any number.
  void set_shard(const Shard& shard);
  /// Trials of the plan that run() sees to.
  std::int64_t trials(const Plan& plan) const;

  /// Golden results that a run has which goes on, by rising image. run() and run_one() throw
  /// Error(kInput) with the image where it gives other bits now: other data, preprocessing or
  /// arithmetic.
  void expect_golden(std::vector<GoldenResult> known);

  /// Takes the answers in plain FP32 from a run of the same network, images and arithmetic.
  void know_plain_answers(const std::vector<GoldenResult>& known);

  /// From here on run() keeps fault-free values for further rounds of trials and for runs with a
  /// protection (begin_beside): up to memory_budget more of them, and a quarter of free memory.
  void keep_golden();
  /// Of a run with a protection: takes images and kept values from the engine of the run without,
  /// which has the same model, images, seed and formats, and its profiles. Before profiles are set
  /// here. Borrows it.
  void begin_beside(Engine& without);

  /// Runs every trial of the plan that is not done, and gives each image's golden row to the sink
  /// unless `golden_done[image]`. Returns false if `stop` became true first.
  bool run(const Plan& plan, const std::vector<bool>& done, const std::vector<bool>& golden_done,
           const Measurer& measurer, ResultSink& sink, const std::atomic<bool>& stop,
           const std::function<void(const EngineProgress&)>& progress);

  /// Stores these trials as crashed, with their messages, and does not run them.
  void give_up(std::map<std::int64_t, std::string> trials);
  /// From here on one thread carries one trial at a time, and `begins` is told of each.
  void go_one_by_one(std::function<void(std::int64_t)> begins);

  /// How many trials of a site are carried through the network together (EngineOptions); for tests.
  void set_flights_at_once(std::size_t flights);
  /// From here on runs count operators and copies between host and device (EngineCosts): slower.
  void count_traffic();
  /// Of the last run().
  const EngineCosts& costs() const;

  /// One trial, in the same row of the same chunk as in the campaign.
  TrialResult run_one(const Plan& plan, std::int64_t trial, const Measurer& measurer);

  /// Seconds that run() will take, extrapolated from a part of the trials, which are run here (for
  /// seconds; half a minute with a ResNet-50) and forgotten. Of more than kMostPiloted trials: the
  /// seconds that it will take at most, if no trial shares a pass or ends early. Nothing if `stop`
  /// became true first.
  std::optional<double> estimate_seconds(const Plan& plan, const Measurer& measurer,
                                         const std::atomic<bool>& stop);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace bitfall
