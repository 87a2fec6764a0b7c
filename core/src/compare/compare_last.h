// The end of a network: which layers give the answer, and how their values make one.
#pragma once

#include <string>
#include <vector>

#include "compare_match.h"

namespace bitfall {

struct LastLayers {
  std::vector<std::size_t> layers;  // in network order, at most two
  std::string note;                 // what is doubtful about them; why there are none
};

/// Of a head that was attached, its products (conv, linear, matmul); else the baseline's final one
/// and what stands for it in the arm. partners: of matching_layers. None where no such output was
/// hit.
LastLayers last_layers(const ComparedRun& baseline, const ComparedRun& arm,
                       const std::vector<int>& partners);
/// Of the baseline itself.
LastLayers last_layers(const ComparedRun& baseline);

/// By layer: whether its outputs lie before those of layer `end`; of layers that several entries of
/// the campaign hit, those of the first count.
std::vector<bool> before_layer(const ComparedRun& run, std::size_t end);

struct LastRule {
  std::string name;             // "(E v1 + C v2) / (E + C)"
  std::vector<double> weights;  // by layer
};
/// How the values of these layers make one, the stated rule first.
std::vector<LastRule> last_rules(const ComparedRun& run, const std::vector<std::size_t>& layers);

}  // namespace bitfall
