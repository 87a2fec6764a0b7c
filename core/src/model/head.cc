#include "head.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "bitfall/extensions/training_features.h"
#include "error.h"
#include "philox.h"

namespace bitfall {
namespace {

std::vector<float> copied(std::span<const float> values) { return {values.begin(), values.end()}; }

class Collector final : public HeadLayers {
 public:
  void linear(const char* name, std::int64_t outputs, std::int64_t inputs, View<const float> weight,
              View<const float> bias, bool trainable) override {
    HeadLayer& layer = add(HeadLayerKind::kLinear, name, trainable);
    layer.outputs = outputs;
    layer.inputs = inputs;
    layer.weight = copied(weight);
    layer.bias = copied(bias);
  }
  void normalise(const char* name, double epsilon) override {
    add(HeadLayerKind::kNormalise, name, false).epsilon = epsilon;
  }
  void scale(const char* name, double log_factor, bool trainable) override {
    add(HeadLayerKind::kScale, name, trainable).log_factor = log_factor;
  }
  void activation(const char* name, Text function) override {
    add(HeadLayerKind::kActivation, name, false).function = std::string(function);
  }
  void distance(const char* name, std::int64_t outputs, std::int64_t inputs,
                View<const float> centres, double factor, bool trainable) override {
    HeadLayer& layer = add(HeadLayerKind::kDistance, name, trainable);
    layer.outputs = outputs;
    layer.inputs = inputs;
    layer.weight = copied(centres);
    layer.factor = factor;
  }

  Head head;

 private:
  HeadLayer& add(HeadLayerKind kind, const char* name, bool trainable) {
    head.emplace_back();
    head.back().kind = kind;
    head.back().name = name;
    head.back().trainable = trainable;
    return head.back();
  }
};

/// An affine map in float64: y = W x + b.
struct Affine {
  std::int64_t outputs = 0;
  std::int64_t inputs = 0;
  std::vector<double> weight;
  std::vector<double> bias;  // [outputs]
};

Affine affine(const HeadLayer& layer) {
  Affine map{layer.outputs, layer.inputs, {layer.weight.begin(), layer.weight.end()}, {}};
  map.bias.assign(static_cast<std::size_t>(layer.outputs), 0);
  std::copy(layer.bias.begin(), layer.bias.end(), map.bias.begin());
  return map;
}

/// `second` after `first`.
Affine composed(const Affine& second, const Affine& first) {
  Affine map{second.outputs, first.inputs, {}, second.bias};
  const auto inputs = static_cast<std::size_t>(map.inputs);
  map.weight.assign(static_cast<std::size_t>(map.outputs) * inputs, 0);
  for (std::int64_t row = 0; row < second.outputs; ++row) {
    double* out = map.weight.data() + static_cast<std::size_t>(row) * inputs;
    for (std::int64_t k = 0; k < second.inputs; ++k) {
      const double factor = second.weight[static_cast<std::size_t>(row * second.inputs + k)];
      const double* in = first.weight.data() + static_cast<std::size_t>(k) * inputs;
      for (std::size_t i = 0; i < inputs; ++i) out[i] += factor * in[i];
      map.bias[static_cast<std::size_t>(row)] += factor * first.bias[static_cast<std::size_t>(k)];
    }
  }
  return map;
}

const FeatureLearner* learner_of(const HeadInit& init) {
  return static_cast<const FeatureLearner*>(init.extension(kTrainingFeatures));
}

}  // namespace

const char* to_string(HeadLayerKind kind) {
  switch (kind) {
    case HeadLayerKind::kLinear:
      return "linear";
    case HeadLayerKind::kNormalise:
      return "normalise";
    case HeadLayerKind::kScale:
      return "scale";
    case HeadLayerKind::kActivation:
      return "activation";
    case HeadLayerKind::kDistance:
      return "distance";
  }
  return "?";
}

std::int64_t HeadLayer::parameters() const {
  if (kind == HeadLayerKind::kScale) return 1;
  return static_cast<std::int64_t>(weight.size() + bias.size());
}

std::string HeadLayer::text() const {
  char number[32];
  switch (kind) {
    case HeadLayerKind::kLinear:
      return std::to_string(inputs) + " -> " + std::to_string(outputs) +
             (bias.empty() ? "" : ", with bias");
    case HeadLayerKind::kNormalise:
      std::snprintf(number, sizeof number, "%g", epsilon);
      return "x / max(|x|, " + std::string(number) + ")";
    case HeadLayerKind::kScale:
      std::snprintf(number, sizeof number, "%.6g", log_factor);
      return "x exp(" + std::string(number) + ")";
    case HeadLayerKind::kActivation:
      return function + "(x)";
    case HeadLayerKind::kDistance:
      std::snprintf(number, sizeof number, "%.6g", factor);
      return std::to_string(inputs) + " -> " + std::to_string(outputs) + ", -" + number +
             " |x - centre|^2";
  }
  return "";
}

std::int64_t parameter_count(const Head& head) {
  return std::accumulate(
      head.begin(), head.end(), std::int64_t{0},
      [](std::int64_t sum, const HeadLayer& layer) { return sum + layer.parameters(); });
}

bool learns_from_features(const HeadInit& init) { return learner_of(init) != nullptr; }

Head build_head(const HeadInit& init, std::int64_t features, std::span<const std::string> classes,
                std::span<const float> embeddings, std::int64_t embedding_width, std::uint64_t seed,
                const HeadFeatures* learned) {
  std::vector<const char*> names;
  for (const std::string& name : classes) names.push_back(name.c_str());
  PhiloxStream random(seed, RandomDomain::kHead, 0);
  Collector collector;
  const HeadRequest request{sizeof(HeadRequest), features, names, embeddings, embedding_width};
  if (learned) {
    const auto images = static_cast<std::int64_t>(learned->labels.size());
    learner_of(init)->build(request,
                            {sizeof(TrainingFeatures), images, learned->values, learned->labels},
                            random, collector);
  } else {
    init.build(request, random, collector);
  }
  return std::move(collector.head);
}

HeadLayer fused(const Head& head, const std::string& name) {
  Affine whole;       // of the linear layers so far; none yet: inputs is 0
  double factor = 1;  // of scales before the first of them
  bool biased = false;
  for (const HeadLayer& layer : head) {
    if (layer.kind == HeadLayerKind::kNormalise) {
      throw Error(ExitCode::kInput,
                  "the head cannot be fused: its layer '" + layer.name +
                      "' brings each image's features to length 1, which no linear layer does; a "
                      "head attached with --set cosine=false can be fused");
    }
    if (layer.kind == HeadLayerKind::kActivation || layer.kind == HeadLayerKind::kDistance) {
      throw Error(ExitCode::kInput, "the head cannot be fused: its layer '" + layer.name +
                                        "' computes " + layer.text() +
                                        ", which no linear layer does");
    }
    if (layer.kind == HeadLayerKind::kScale) {
      const double by = std::exp(layer.log_factor);
      factor *= by;
      for (double& value : whole.weight) value *= by;
      for (double& value : whole.bias) value *= by;
      continue;
    }
    if (whole.inputs == 0) {
      whole = affine(layer);
      for (double& value : whole.weight) value *= factor;
    } else {
      whole = composed(affine(layer), whole);
    }
    biased = biased || !layer.bias.empty();
  }
  HeadLayer layer;
  layer.name = name;
  layer.trainable = true;
  layer.outputs = whole.outputs;
  layer.inputs = whole.inputs;
  layer.weight.assign(whole.weight.begin(), whole.weight.end());
  if (biased) layer.bias.assign(whole.bias.begin(), whole.bias.end());
  for (const auto* values : {&layer.weight, &layer.bias}) {
    for (const float value : *values) {
      if (std::isfinite(value)) continue;
      throw Error(ExitCode::kInput,
                  "the head cannot be fused: the product of its layers is beyond float32");
    }
  }
  return layer;
}

}  // namespace bitfall
