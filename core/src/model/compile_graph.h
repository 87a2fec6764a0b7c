// From a TorchScript graph to instructions over a table of slots.
//
//   module_graph ──> graph
//                     │ ▲
//             compile │ │ fold_control: conditions and loops that depend on shapes alone are decided,
//                     ▼ │ for one shape of input; then compile again, until none is left
//                   instructions
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "instruction.h"
#include "module_graph.h"

namespace bitfall {

struct CompiledGraph : Instructions {
  std::shared_ptr<torch::jit::Graph> graph;  // owns the nodes
  std::vector<torch::jit::Node*> nodes;      // by step
  std::unordered_map<const torch::jit::Value*, int> slots;
};

/// forward must take one input.
CompiledGraph compile(const ModuleGraph& source);

/// Replaces the conditions that depend on shapes alone, and unrolls the loops, by what they are in a
/// run that begins with `slots`; the graph has then to be compiled anew. False, and nothing is
/// changed, if there is none.
bool fold_control(ModuleGraph& source, const CompiledGraph& compiled, Slots slots);

}  // namespace bitfall
