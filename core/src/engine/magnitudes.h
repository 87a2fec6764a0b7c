// How large a network's fault-free values are, site by site. No LibTorch type is needed to include
// this.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "dataset.h"
#include "model.h"

namespace bitfall {

/// Of the values of one site over all images, or of a parameter.
struct SiteMagnitude {
  std::int32_t site = 0;
  double maximum = 0;          // of |x|, over finite values; 0 of none
  double mean = 0;             // of |x|, over finite values; NaN of none
  std::int64_t values = 0;     // finite ones
  std::int64_t nonfinite = 0;  // NaN and infinite ones
};

/// Runs every image through the network in plain FP32 and looks at the values of these sites.
/// Sums are taken in float64 image by image in the images' order, so that neither the batch nor
/// threads change how they are added. `tick(images done)` after each pass, if given. Nothing if
/// `stop` became true first. Throws Error(kInput) for a refused site.
std::optional<std::vector<SiteMagnitude>> measure_magnitudes(
    const Model& model, const Dataset& dataset, std::span<const std::int32_t> sites,
    const std::atomic<bool>& stop, const std::function<void(std::int64_t)>& tick);

}  // namespace bitfall
