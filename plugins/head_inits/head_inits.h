// The head initialisers of this plugin, one a file.
#pragma once

#include <cstdint>
#include <vector>

#include "bitfall/plugin.h"

namespace bitfall {

extern const Component<HeadInit> kLinear;
extern const Component<HeadInit> kRandomProjection;
extern const Component<HeadInit> kEmbedding;
extern const Component<HeadInit> kTextGuided;
extern const Component<HeadInit> kClassMeans;

/// Weight and bias of a linear layer.
struct LinearValues {
  std::vector<float> weight;  // [outputs, inputs]
  std::vector<float> bias;    // [outputs], or empty
};

/// As PyTorch starts an nn.Linear: weight and bias uniform over [-1/sqrt(inputs), 1/sqrt(inputs)).
LinearValues random_linear(std::int64_t outputs, std::int64_t inputs, bool bias,
                           RandomStream& random);

}  // namespace bitfall
