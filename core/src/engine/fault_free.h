// A network's answers without a fault and without a number format. No LibTorch type is needed to
// include this.
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

/// Gives every image's answer, in the images' order. `tick(images done)` after each pass, if given.
/// False if `stop` became true first.
bool run_fault_free(const Model& model, const Dataset& dataset, const std::atomic<bool>& stop,
                    const std::function<void(std::int32_t, std::span<const float>)>& take,
                    const std::function<void(std::int64_t)>& tick);

/// Images whose answer is their label, in order. Nothing if `stop` became true first.
std::optional<std::vector<std::int32_t>> right_images(
    const Model& model, const Dataset& dataset, const std::atomic<bool>& stop,
    const std::function<void(std::int64_t)>& tick);

}  // namespace bitfall
