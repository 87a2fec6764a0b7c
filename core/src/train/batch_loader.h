// Batches of training images, decoded and augmented by threads of its own ahead of their use.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "dataset.h"
#include "training_config.h"

namespace bitfall {

struct Batch {
  std::vector<float> images;         // [batch, C, H, W]
  std::vector<std::int64_t> labels;  // [batch]
  // Where images are mixed: image i holds `share` of its own label, the rest of the one before it.
  double share = 1;
};

/// What a training meets at which step: every epoch has an order of its own, cut into batches; what
/// does not fill a step is left out. Depends on nothing but the seed.
struct BatchOrder {
  std::uint64_t seed = 1;
  std::int64_t images = 0;
  std::int64_t batch = 1;
  std::int64_t accumulate = 1;  // batches per step

  std::int64_t steps_per_epoch() const { return images / batch / accumulate; }
  std::int64_t batches_per_epoch() const { return steps_per_epoch() * accumulate; }
  /// The images of an epoch in their order; batch b of it takes those from b * batch on.
  std::vector<std::int32_t> epoch(std::int64_t epoch) const;
};

/// How an image is shifted and mirrored. Drawn from (seed, epoch, image) alone.
struct Shift {
  std::int64_t down = 0, right = 0;
  bool mirrored = false;
};
Shift draw_shift(const AugmentationConfig& config, std::uint64_t seed, std::int64_t epoch,
                 std::int32_t image);
/// The picture shifted, with black where nothing is, and mirrored: as augment() does it to values.
Image shifted(const Image& picture, const Shift& by);

/// A mirrored or shifted copy of `image` [C, H, W]; `black`: what a black pixel is after
/// preprocessing, a value a channel. Drawn from (seed, epoch, image) alone. Where the config has
/// trivial_augment, shift and mirror came before it, and boxes are erased alone.
void augment(const AugmentationConfig& config, std::uint64_t seed, std::int64_t epoch,
             std::int32_t image, std::array<std::int64_t, 3> shape, std::span<const float> black,
             std::span<float> values);

class BatchLoader {
 public:
  /// The batches [first, last), counted over all epochs. Keeps at most `workers` + 2 of them ready.
  /// dataset: outlives the loader.
  BatchLoader(const Dataset& dataset, const Preprocess& preprocess,
              const AugmentationConfig& augmentation, const BatchOrder& order, std::int64_t first,
              std::int64_t last, std::int64_t workers);
  /// Of all images in order, without augmentation; the last batch may be smaller.
  BatchLoader(const Dataset& dataset, std::int64_t batch, std::int64_t workers);
  ~BatchLoader();
  BatchLoader(const BatchLoader&) = delete;
  BatchLoader& operator=(const BatchLoader&) = delete;

  /// The next batch; nothing behind the last. Throws what Dataset::load threw.
  std::optional<Batch> next();
  /// Seconds that next() waited because no batch was ready.
  double waited() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace bitfall
