#include "steps.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "compile_graph.h"

namespace bitfall {
namespace {

// Operations that hand on values without computing any: no sites of their own.
const std::unordered_set<std::string>& moving_operations() {
  static const std::unordered_set<std::string> kNames = {"view",
                                                         "reshape",
                                                         "flatten",
                                                         "permute",
                                                         "transpose",
                                                         "t",
                                                         "numpy_T",
                                                         "contiguous",
                                                         "expand",
                                                         "expand_as",
                                                         "slice",
                                                         "select",
                                                         "squeeze",
                                                         "unsqueeze",
                                                         "chunk",
                                                         "split",
                                                         "split_with_sizes",
                                                         "unbind",
                                                         "unflatten",
                                                         "narrow",
                                                         "detach",
                                                         "clone",
                                                         "to",
                                                         "type_as",
                                                         "dropout",
                                                         "feature_dropout",
                                                         "alpha_dropout",
                                                         "movedim",
                                                         "swapaxes",
                                                         "view_as",
                                                         "alias",
                                                         "copy",
                                                         "tensor_split",
                                                         "size",
                                                         "zeros",
                                                         "ones",
                                                         "empty",
                                                         "full",
                                                         "zeros_like",
                                                         "ones_like",
                                                         "new_zeros",
                                                         "new_ones",
                                                         "new_full",
                                                         "new_empty",
                                                         "arange",
                                                         "meshgrid",
                                                         "fill",
                                                         "zero",
                                                         "tensor",
                                                         "scalar_tensor",
                                                         "empty_like",
                                                         "full_like"};
  return kNames;
}

// The kind of a schema name such as "aten::conv2d"; empty if the operation computes nothing.
std::string operation_kind(const std::string& qualified) {
  static const std::unordered_map<std::string, std::string> kKinds = {
      {"conv1d", "conv"},
      {"conv2d", "conv"},
      {"conv3d", "conv"},
      {"_convolution", "conv"},
      {"convolution", "conv"},
      {"conv_transpose1d", "conv"},
      {"conv_transpose2d", "conv"},
      {"conv_transpose3d", "conv"},
      {"addmm", "linear"},
      {"mm", "matmul"},
      {"bmm", "matmul"},
      {"baddbmm", "matmul"},
      {"_softmax", "softmax"},
      {"native_layer_norm", "layer_norm"},
      {"relu6", "relu"},
      {"scaled_dot_product_attention", "attention"},
      {"_scaled_dot_product_attention", "attention"}};
  const auto colons = qualified.find("::");
  if (colons == std::string::npos || qualified.substr(0, colons) == "prim") return "";
  std::string name = qualified.substr(colons + 2);
  if (name.size() > 1 && name.back() == '_') name.pop_back();
  if (moving_operations().count(name)) return "";
  const auto known = kKinds.find(name);
  return known == kKinds.end() ? name : known->second;
}

// The slots that an instruction reads from outside itself, those of its branches included.
void collect_reads(const Instruction& instruction, std::set<int>& reads) {
  reads.insert(instruction.in.begin(), instruction.in.end());
  for (const CompiledBranch& branch : instruction.branches) {
    for (const Instruction& inner : branch.instructions) collect_reads(inner, reads);
    reads.insert(branch.outputs.begin(), branch.outputs.end());
  }
}

// The kind of the first computing operation that reads one of the carriers, or a view of one; "" if
// none does.
std::string reading_operation(const std::vector<Instruction>& instructions,
                              std::set<int>& carriers) {
  for (const Instruction& instruction : instructions) {
    for (const CompiledBranch& branch : instruction.branches) {
      const std::string inner = reading_operation(branch.instructions, carriers);
      if (!inner.empty()) return inner;
    }
    const bool reads = std::any_of(instruction.in.begin(), instruction.in.end(),
                                   [&](int slot) { return carriers.count(slot) > 0; });
    if (!reads) continue;
    const std::string kind = operation_kind(instruction.node->kind().toQualString());
    if (!kind.empty()) return kind;
    carriers.insert(instruction.out.begin(), instruction.out.end());
  }
  return "";
}

// The first step of those that reads one of the slots; -1 if none does.
int first_reading(const std::vector<std::set<int>>& reads, const std::vector<int>& slots) {
  for (std::size_t i = 0; i < reads.size(); ++i) {
    const bool hit = std::any_of(slots.begin(), slots.end(),
                                 [&](int slot) { return reads[i].count(slot) > 0; });
    if (hit) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace

std::vector<Step> describe_steps(const CompiledGraph& compiled) {
  std::vector<Step> steps;
  for (const Instruction& instruction : compiled.instructions) {
    Step step;
    const torch::jit::Node* node = instruction.node;
    step.path = node->scopeName();
    step.function = node->kind().toQualString();
    step.inputs = instruction.in;
    step.outputs = instruction.out;
    const bool one_tensor =
        node->outputs().size() == 1 && node->output()->type()->isSubtypeOf(*c10::TensorType::get());
    if (one_tensor) {
      step.output = instruction.out[0];
      step.operation = operation_kind(step.function);
    }
    if (const auto* schema = node->maybeSchema()) step.in_place = schema->is_mutable();
    steps.push_back(std::move(step));
  }
  return steps;
}

std::vector<Parameter> find_parameters(const ModuleGraph& source, const CompiledGraph& compiled) {
  std::map<std::string, Parameter> by_name;
  std::map<const void*, std::vector<int>> by_memory;
  for (const auto& [value, attribute] : source.attributes) {
    const auto known = compiled.slots.find(value);
    if (known == compiled.slots.end() || !attribute.value.isTensor()) continue;
    const at::Tensor& tensor = attribute.value.toTensor();
    if (!tensor.defined()) continue;
    Parameter& parameter = by_name[attribute.name];
    parameter.name = attribute.name;
    parameter.value = tensor;
    parameter.learned = attribute.learned;
    by_memory[tensor.const_data_ptr()].push_back(known->second);
  }
  const auto& instructions = compiled.instructions;
  std::vector<std::set<int>> reads(instructions.size());
  for (std::size_t i = 0; i < instructions.size(); ++i) collect_reads(instructions[i], reads[i]);
  std::vector<Parameter> parameters;
  for (auto& [_, parameter] : by_name) {
    parameter.slots = by_memory[parameter.value.const_data_ptr()];
    parameter.first_step = first_reading(reads, parameter.slots);
    std::set<int> carriers(parameter.slots.begin(), parameter.slots.end());
    parameter.operation = reading_operation(instructions, carriers);
    parameters.push_back(std::move(parameter));
  }
  std::sort(parameters.begin(), parameters.end(), [](const Parameter& a, const Parameter& b) {
    const auto key = [](const Parameter& p) {
      return std::make_pair(p.first_step < 0 ? INT32_MAX : p.first_step, p.name);
    };
    return key(a) < key(b);
  });
  return parameters;
}

std::vector<Lifetime> find_lifetimes(const CompiledGraph& compiled) {
  std::vector<Lifetime> lifetimes(compiled.fixed.size());
  const auto steps = static_cast<int>(compiled.instructions.size());
  for (int i = 0; i < steps; ++i) {
    const Instruction& instruction = compiled.instructions[static_cast<std::size_t>(i)];
    std::set<int> touched;
    collect_reads(instruction, touched);
    for (const int slot : instruction.out) lifetimes[slot].made = i;
    touched.insert(instruction.out.begin(), instruction.out.end());
    for (const int slot : touched) lifetimes[slot].last = i;
  }
  lifetimes[compiled.output].last = steps;
  return lifetimes;
}

}  // namespace bitfall
