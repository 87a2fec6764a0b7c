#include "steps.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "instruction.h"

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
                                                         "full_like",
                                                         "lift",
                                                         "lift_fresh",
                                                         "lift_fresh_copy",
                                                         "_autocast_to_reduced_precision",
                                                         "_autocast_to_full_precision",
                                                         // out of lists and dictionaries
                                                         "__getitem_",
                                                         "get",
                                                         "pop",
                                                         "setdefault"};
  return kNames;
}

}  // namespace

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

namespace {

// Layers whose further results are states and statistics: the first is what the next layer reads.
bool answers_first(const std::string& kind) {
  static const std::unordered_set<std::string> kKinds = {
      "lstm", "gru", "rnn_tanh", "rnn_relu", "_native_multi_head_attention", "native_group_norm",
      "layer_norm"};
  return kKinds.count(kind) > 0;
}

bool any_of_slots(const std::vector<int>& slots, const std::set<int>& wanted) {
  return std::any_of(slots.begin(), slots.end(),
                     [&](int slot) { return wanted.count(slot) > 0; });
}

// Looks for the operation that computes with a parameter.
class OperationFinder {
 public:
  OperationFinder(const std::vector<bool>& dependent, const std::vector<int>& slots)
      : dependent_(dependent), views_(slots.begin(), slots.end()), computed_(views_) {}

  std::string run(const std::vector<Instruction>& instructions) {
    walk(instructions);
    if (first_ == "conv" || first_ == "linear") return first_;
    return meeting_.empty() ? first_ : meeting_;
  }

 private:
  void walk(const std::vector<Instruction>& instructions) {
    for (const Instruction& instruction : instructions) {
      for (const CompiledBranch& branch : instruction.branches) walk(branch.instructions);
      if (!meeting_.empty()) return;
      if (any_of_slots(instruction.in, computed_)) look(instruction);
    }
  }

  void look(const Instruction& instruction) {
    const std::string kind = operation_kind(instruction.function);
    if (any_of_slots(instruction.in, views_)) {
      if (first_.empty()) first_ = kind;
      if (kind.empty()) views_.insert(instruction.out.begin(), instruction.out.end());
    }
    const bool meets =
        std::any_of(instruction.in.begin(), instruction.in.end(),
                    [&](int slot) { return dependent_[static_cast<std::size_t>(slot)]; });
    if (meets && !kind.empty()) meeting_ = kind;
    computed_.insert(instruction.out.begin(), instruction.out.end());
  }

  const std::vector<bool>& dependent_;
  std::set<int> views_, computed_;  // slots of the parameter or views of it; of what is made of it
  std::string first_, meeting_;
};

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

std::string Step::place() const {
  const auto colons = function.find("::");
  const std::string name = colons == std::string::npos ? function : function.substr(colons + 2);
  return (path.empty() ? "" : path + "/") + name;
}

std::vector<Step> describe_steps(const Instructions& program) {
  std::vector<Step> steps;
  for (const Instruction& instruction : program.steps) {
    Step step;
    step.path = instruction.path;
    step.function = instruction.function;
    step.inputs = instruction.in;
    std::set<int> reads;
    collect_reads(instruction, reads);
    step.reads.assign(reads.begin(), reads.end());
    step.outputs = instruction.out;
    const std::string kind = operation_kind(step.function);
    if (instruction.one_tensor() || answers_first(kind)) {
      step.output = instruction.out[0];
      step.operation = kind;
    }
    step.in_place = instruction.in_place();
    steps.push_back(std::move(step));
  }
  return steps;
}

std::vector<bool> find_dependent(const Instructions& program) {
  std::vector<bool> dependent(program.fixed.size(), false);
  dependent[static_cast<std::size_t>(program.input)] = true;
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    std::set<int> reads;
    collect_reads(program.steps[i], reads);
    const bool depends = std::any_of(reads.begin(), reads.end(), [&](int slot) {
      return dependent[static_cast<std::size_t>(slot)];
    });
    if (!depends) continue;
    for (const int slot : program.steps[i].out) dependent[static_cast<std::size_t>(slot)] = true;
    for (const Write& write : program.writes) {
      if (write.step == static_cast<int>(i)) dependent[static_cast<std::size_t>(write.slot)] = true;
    }
  }
  return dependent;
}

namespace {

bool same_view(const at::Tensor& a, const at::Tensor& b) {
  return a.const_data_ptr() == b.const_data_ptr() && a.sizes() == b.sizes() &&
         a.strides() == b.strides() && a.scalar_type() == b.scalar_type();
}

// The bytes of the storage that the tensor lies in, from its first to its last element.
std::pair<const char*, const char*> extent_of(const at::Tensor& tensor) {
  const auto* first = static_cast<const char*>(tensor.const_data_ptr());
  std::int64_t last = 0;
  for (std::int64_t d = 0; d < tensor.dim(); ++d) {
    last += (tensor.size(d) - 1) * tensor.stride(d);
  }
  return {first, first + (last + 1) * static_cast<std::int64_t>(tensor.element_size())};
}

bool overlap(const at::Tensor& a, const at::Tensor& b) {
  if (a.numel() == 0 || b.numel() == 0 || !a.is_alias_of(b)) return false;
  const auto [a_first, a_end] = extent_of(a);
  const auto [b_first, b_end] = extent_of(b);
  return a_first < b_end && b_first < a_end;
}

// Where it is read, and what else lies in its memory.
void find_memory(Parameter& parameter, const std::vector<StateTensor>& state) {
  const bool strided = parameter.value.layout() == at::kStrided;
  for (const StateTensor& other : state) {
    if (other.value.is_same(parameter.value) ||
        (strided && other.value.layout() == at::kStrided &&
         same_view(other.value, parameter.value))) {
      if (std::count(parameter.slots.begin(), parameter.slots.end(), other.slot) == 0) {
        parameter.slots.push_back(other.slot);
      }
    } else if (strided && other.value.layout() == at::kStrided &&
               overlap(other.value, parameter.value)) {
      parameter.overlaps.push_back({other.slot, other.value});
    }
  }
}

}  // namespace

std::vector<Parameter> find_parameters(const Instructions& program) {
  std::map<std::string, Parameter> by_name;
  for (const StateTensor& tensor : program.state) {
    Parameter& parameter = by_name[tensor.name];
    parameter.name = tensor.name;
    parameter.value = tensor.value;
    parameter.learned = tensor.learned;
  }
  std::vector<std::set<int>> reads(program.steps.size());
  for (std::size_t i = 0; i < reads.size(); ++i) collect_reads(program.steps[i], reads[i]);
  const std::vector<bool> dependent = find_dependent(program);
  std::vector<Parameter> parameters;
  for (auto& [_, parameter] : by_name) {
    find_memory(parameter, program.state);
    std::vector<int> touched = parameter.slots;
    for (const SharedView& view : parameter.overlaps) touched.push_back(view.slot);
    parameter.first_step = first_reading(reads, touched);
    parameter.operation = OperationFinder(dependent, parameter.slots).run(program.steps);
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

std::vector<Lifetime> find_lifetimes(const Instructions& program) {
  std::vector<Lifetime> lifetimes(program.fixed.size());
  const auto steps = static_cast<int>(program.steps.size());
  for (int i = 0; i < steps; ++i) {
    const Instruction& instruction = program.steps[static_cast<std::size_t>(i)];
    std::set<int> touched;
    collect_reads(instruction, touched);
    for (const int slot : instruction.out) lifetimes[slot].made = i;
    touched.insert(instruction.out.begin(), instruction.out.end());
    for (const int slot : touched) lifetimes[slot].last = i;
  }
  lifetimes[program.output].last = steps;
  return lifetimes;
}

}  // namespace bitfall
