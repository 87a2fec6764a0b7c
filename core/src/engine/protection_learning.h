// What protections learn of a network's values before a campaign.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "bitfall/protection.h"
#include "dataset.h"
#include "model.h"

namespace bitfall {

/// A place that a protection guards.
struct LearnPlace {
  const Protection* protection = nullptr;
  const ProtectedSite* site = nullptr;
  std::int32_t index = -1;   // of the model's sites; -1 = the answer
  std::vector<float> state;  // what it has learned
};

/// Shows each protection the values of its places, image by image, in plain FP32, and fills
/// `state`. A parameter is shown once a pass. `tick(images done)` after each batch. False if
/// `stop` became true first. Throws Error(kInput) where the images have not the model's shape.
bool learn(const Model& model, const Dataset& images, std::span<LearnPlace> places,
           const std::atomic<bool>& stop, const std::function<void(std::int64_t)>& tick);

/// How many images learn() looks at: those of the data once for each pass.
std::int64_t images_to_learn(const Dataset& images, std::span<const LearnPlace> places);

}  // namespace bitfall
