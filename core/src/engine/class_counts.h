// How many values of each class (value_classes.h) sites hold without a fault, image by image.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "value_classes.h"
#include "workload.h"

namespace bitfall {

/// Runs every image through the network in its formats, once, and counts the values of these sites
/// by these bits of their codes. By place in `sites`. The workload has its profiles.
/// `tick(images done)` after each pass, if given. Nothing if `stop` became true first.
std::optional<std::vector<ClassCounts>> count_values(Workload& workload,
                                                     std::span<const std::int32_t> sites,
                                                     const std::vector<int>& bits,
                                                     const std::atomic<bool>& stop,
                                                     const std::function<void(std::int64_t)>& tick);

}  // namespace bitfall
