// A head that starts from training images: a head initialiser that gives this by
// HeadInit::extension(kTrainingFeatures) is built by it in place of HeadInit::build().
#pragma once

#include <cstdint>

#include "bitfall/head_init.h"
#include "bitfall/random.h"
#include "bitfall/view.h"

namespace bitfall {

inline constexpr const char* kTrainingFeatures = "bitfall.training_features/1";

/// What the layers before the head give for training images. Valid during the call only.
struct TrainingFeatures {
  std::uint32_t size;   // of this struct in bytes as the host knows it: later fields exist where it
                        // reaches them
  std::int64_t images;  // at least 1
  View<const float> values;         // [images, HeadRequest::features], row-major, in FP32
  View<const std::int64_t> labels;  // [images], each 0 to classes - 1
};

/// Thread-safe after construction. What it gives depends on nothing but its arguments.
class FeatureLearner {
 public:
  /// As HeadInit::build(). The features do not depend on number formats or faults.
  virtual void build(const HeadRequest& request, const TrainingFeatures& features,
                     RandomStream& random, HeadLayers& layers) const = 0;

 protected:
  ~FeatureLearner() = default;
};

}  // namespace bitfall
