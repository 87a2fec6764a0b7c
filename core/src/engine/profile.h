// What formats and error models have to know of a campaign's golden values beforehand.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "calibration.h"
#include "engine_options.h"
#include "workload.h"

namespace bitfall {

/// Runs images through the network in plain FP32 and learns from the values at the emulated sites.
class Profiler {
 public:
  /// Borrows all. `most_images`: look at no more than the chunks that hold these (0 = all).
  /// `others`: images to learn from in place of the campaign's; null = those.
  Profiler(Workload& workload, const EngineOptions& options, std::int64_t most_images,
           const Dataset* others);

  /// How many images are looked at; 0 if none has to be.
  std::int64_t images() const { return images_; }

  /// By site: calibrated metadata and golden ranges. Notes the FP32 answers of the images on the
  /// way. `tick(images done)` after each chunk, if given. Nothing if `stop` became true first.
  std::optional<std::vector<SiteProfile>> profile(const std::atomic<bool>& stop,
                                                  const std::function<void(std::int64_t)>& tick);
  /// By site, after profile(): what calibrated formats were given; empty of others.
  const std::vector<std::vector<Range>>& ranges() const { return ranges_; }

 private:
  std::vector<RangeObserver> observers() const;
  void observe_chunk(std::int64_t chunk);
  void observe_others(std::int64_t first);
  at::Tensor observe_pass(const at::Tensor& images, std::int64_t learning, std::int64_t count);
  void observe_site(std::int32_t site, const Slots& slots, std::int64_t learning,
                    std::int64_t count);
  SiteProfile profile_of(std::int32_t site);

  Workload& workload_;
  const EngineOptions& options_;
  const Dataset* others_;
  bool every_image_;       // golden ranges are wanted, which are those of every image
  std::int64_t learning_;  // images that formats learn from, the first that were dealt
  std::int64_t images_;
  std::vector<RangeObserver> learned_, all_;  // by site: of those images, of every image
  std::vector<std::vector<Range>> ranges_;
};

}  // namespace bitfall
