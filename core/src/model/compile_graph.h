// From a TorchScript module to instructions over a table of slots.
//
//   module ── inline, freeze ──> graph: forward without calls; each node knows its module's path
//                                  │ ▲
//                          compile │ │ fold_conditions: what depends on shapes alone is decided,
//                                  ▼ │ for one shape of input; then compile again, until none is left
//                                instructions
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "instruction.h"

namespace bitfall {

/// What `self.a.b` gives: a module, or a tensor of its state.
struct ModuleAttribute {
  std::string name;  // "a.b"
  c10::IValue value;
  bool learned = false;  // a parameter of its module, not a buffer (running statistics)
};

/// forward(self, image) of a module, without calls. Further inputs are constants, where they have
/// defaults.
struct ModuleGraph {
  std::shared_ptr<torch::jit::Graph> graph;
  std::unordered_map<const torch::jit::Value*, ModuleAttribute> attributes;
};

struct CompiledGraph {
  std::shared_ptr<torch::jit::Graph> graph;  // owns the nodes
  std::vector<Instruction> instructions;
  Slots fixed;  // constants and parameters; the rest empty
  std::unordered_map<const torch::jit::Value*, int> slots;
  int input = -1;
  int output = -1;
};

/// The tensors are the module's own. Throws what TorchScript throws.
ModuleGraph module_graph(const torch::jit::Module& module);

/// forward must take one input.
CompiledGraph compile(const ModuleGraph& source);

/// Replaces the conditions that depend on shapes alone by what they are in a run that begins with
/// `slots`; the graph has then to be compiled anew. False, and nothing is changed, if there is none.
bool fold_conditions(ModuleGraph& source, const CompiledGraph& compiled, Slots slots);

/// True if a conditional or a loop reads the values of tensors.
bool branches_on_values(const CompiledGraph& compiled);

}  // namespace bitfall
