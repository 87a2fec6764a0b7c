// The values of sites without a fault, as those that faults hit: stored in their formats, computed
// in the batches of the campaign.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>

#include "workload.h"

namespace bitfall {

/// An image's slab of a site, which is told by its place among those asked for. Of a parameter all
/// of it, and the image is 0.
using TakeSlab = std::function<void(std::size_t place, std::int32_t image, const float* values)>;

/// Runs the first `images` images through the network in its formats, once, in no order, and shows
/// these sites' values; those of parameters once and first. The workload has its profiles.
/// `tick(images done)` after each pass, if given. False if `stop` became true first.
bool show_slabs(Workload& workload, std::span<const std::int32_t> sites, std::int32_t images,
                const std::atomic<bool>& stop, const TakeSlab& take,
                const std::function<void(std::int64_t)>& tick);

}  // namespace bitfall
