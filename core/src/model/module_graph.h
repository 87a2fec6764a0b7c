// A TorchScript module as one graph: forward without calls, objects and state.
//
//   module ── inline ──> nodes know their module's path     calls, forks and `with` blocks are gone
//          ── promote ─> attributes that forward sets are values
//          ── freeze ──> graph, and what its reads of `self` give
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <memory>
#include <string>
#include <unordered_map>

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
  bool sets_attributes = false;  // forward may keep a state from call to call
  bool casts = false;            // a part of it runs under autocast
};

/// The tensors are the module's own. Throws what TorchScript throws.
ModuleGraph module_graph(const torch::jit::Module& module);

/// Folds what is constant, unrolls loops of few constant turns, drops what nothing reads.
void clean(std::shared_ptr<torch::jit::Graph>& graph);

}  // namespace bitfall
