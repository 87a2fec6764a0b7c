// What a training has found so far: a row per epoch, as CSV.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace bitfall {

/// What is known after an epoch.
struct EpochResult {
  std::int64_t epoch = 0;    // from 1
  std::int64_t step = 0;     // steps so far
  double learning_rate = 0;  // of its last step
  double loss = 0;           // mean over its steps of what was minimised, nats
  double accuracy = 0;       // on augmented images, while weights change
  // Of the validation images, with the averaged weights where there are any; NaN without them.
  double validation_loss = std::numeric_limits<double>::quiet_NaN();
  double validation_accuracy = std::numeric_limits<double>::quiet_NaN();
  double seconds = 0;  // of its steps, without validation
  double images_per_second = 0;
  double waited_seconds = 0;  // for images that were not ready
};

/// A header and a row per epoch; numbers read back to the same bits.
std::string training_csv(std::span<const EpochResult> epochs);

/// The rows of such a text. Throws Error(kInput), naming `name`, where it is something else.
std::vector<EpochResult> parse_training_csv(const std::string& csv, const std::string& name);

}  // namespace bitfall
