// What the layers before a head give for training images, for head initialisers that learn from it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "head_module.h"

namespace bitfall {

struct FeatureSource {
  std::filesystem::path data;  // a campaign file or run directory, whose [data] is taken, or a
                               // folder with one folder a class
  std::int64_t limit = 0;      // images; 0 = as the data say
};

struct LearnedFeatures {
  HeadFeatures features;
  std::string data_digest;
};

/// Runs the images through the network up to the head at `place`, in FP32. Throws Error(kInput)
/// where a feature is not finite or the data do not fit the network, Error(kInterrupted) at Ctrl-C.
LearnedFeatures features_of(const std::filesystem::path& backbone, const LastLinear& place,
                            const FeatureSource& source);

}  // namespace bitfall
