// The last layers of a classifier as plain numbers: what a head initialiser builds, what lies in a
// model file, and what fusing makes of them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bitfall/head_init.h"

namespace bitfall {

enum class HeadLayerKind { kLinear, kNormalise, kScale, kActivation, kDistance };
/// "linear", "normalise", "scale", "activation", "distance".
const char* to_string(HeadLayerKind kind);

/// One layer of bitfall/head_init.h.
struct HeadLayer {
  HeadLayerKind kind = HeadLayerKind::kLinear;
  std::string name;
  bool trainable = false;
  // kLinear, kDistance
  std::int64_t outputs = 0;
  std::int64_t inputs = 0;
  std::vector<float> weight;  // [outputs, inputs], row-major; of kDistance the centres
  std::vector<float> bias;    // [outputs], or empty
  // kNormalise
  double epsilon = 0;
  // kScale
  double log_factor = 0;
  std::string function;  // kActivation: "relu", "gelu", "silu", "sigmoid", "tanh"
  double factor = 0;     // kDistance

  std::int64_t parameters() const;
  std::string text() const;  // "2048 -> 512, with bias", "x / max(|x|, 1e-12)", "x exp(2.65926)"
};

using Head = std::vector<HeadLayer>;

std::int64_t parameter_count(const Head& head);

/// What the layers before a head give for training images: values [images, features], row-major.
struct HeadFeatures {
  std::vector<float> values;
  std::vector<std::int64_t> labels;
};

/// Whether the initialiser is built from such.
bool learns_from_features(const HeadInit& init);

/// Calls the initialiser. learned: of those that learn from features, else null. seed: of its
/// random stream. embeddings: [classes, width], or empty with width 0. Throws Error(kUsage) where
/// the request does not fit the options, Error(kPlugin) where the layers do not fit each other.
Head build_head(const HeadInit& init, std::int64_t features, std::span<const std::string> classes,
                std::span<const float> embeddings, std::int64_t embedding_width, std::uint64_t seed,
                const HeadFeatures* learned = nullptr);

/// One linear layer, called `name`, that computes the same as all of them: products are summed in
/// float64 and rounded once. Throws Error(kInput) with the reason where there is none (a
/// normalisation).
HeadLayer fused(const Head& head, const std::string& name);

}  // namespace bitfall
