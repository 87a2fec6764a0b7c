#include "copy_on_write.h"

#include <ATen/ATen.h>
#include <ATen/core/List.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace bitfall {
namespace {

at::Tensor copy_of(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.layout() != at::kStrided || tensor.numel() == 0) {
    return tensor.defined() ? tensor.clone() : tensor;
  }
  std::int64_t span = 1;
  for (std::int64_t d = 0; d < tensor.dim(); ++d) span += (tensor.size(d) - 1) * tensor.stride(d);
  return tensor.as_strided({span}, {1}).clone().as_strided(tensor.sizes(), tensor.strides(), 0);
}

// Operators that make a tensor of other memory than it had, beyond what it reached.
bool moves_memory(const std::string& function) {
  static const std::set<std::string> kNames = {"aten::as_strided_", "aten::resize_",
                                               "aten::resize_as_", "aten::set_"};
  return kNames.count(function) > 0;
}

class Copier {
 public:
  explicit Copier(Instructions& program)
      : program_(program), made_(program.fixed.size(), -1), last_(program.fixed.size(), -1) {
    for (std::size_t i = 0; i < program.steps.size(); ++i) {
      make(program.steps[i], static_cast<int>(i));
      read(program.steps[i], static_cast<int>(i));
    }
    last_[slot(program.output)] = static_cast<int>(program.steps.size());
  }

  void run() {
    std::map<int, std::vector<int>> written;  // slots, by step
    for (const Write& write : program_.writes) written[write.step].push_back(write.slot);
    std::set<int> freed;
    for (const auto& [step, slots] : written) {
      if (copy(step, slots)) freed.insert(step);
    }
    std::erase_if(program_.writes,
                  [&](const Write& write) { return freed.count(write.step) > 0; });
  }

 private:
  static std::size_t slot(int index) { return static_cast<std::size_t>(index); }

  // Reads the one slot from now on where it read the other.
  static void exchange(Instruction& step, int from, int to) {
    std::replace(step.in.begin(), step.in.end(), from, to);
    for (CompiledBranch& branch : step.branches) {
      for (Instruction& inner : branch.instructions) exchange(inner, from, to);
      std::replace(branch.outputs.begin(), branch.outputs.end(), from, to);
    }
  }

  void make(const Instruction& step, int at) {
    for (const int out : step.out) made_[slot(out)] = at;
    for (const CompiledBranch& branch : step.branches) {
      for (const int input : branch.inputs) made_[slot(input)] = at;
      for (const Instruction& inner : branch.instructions) make(inner, at);
    }
  }

  void read(const Instruction& step, int at) {
    for (const int in : step.in) last_[slot(in)] = at;
    for (const CompiledBranch& branch : step.branches) {
      for (const Instruction& inner : branch.instructions) read(inner, at);
      for (const int output : branch.outputs) last_[slot(output)] = at;
    }
  }

  // Which operand the step writes to, if it is one and comes back as its one result.
  static std::optional<std::size_t> written_operand(const Instruction& step) {
    if (step.kind != Instruction::Kind::kCall || !step.in_place() || step.out.size() != 1 ||
        step.schema->is_vararg() || step.schema->returns().size() != 1 ||
        step.schema->returns()[0].alias_info() == nullptr || moves_memory(step.function)) {
      return std::nullopt;
    }
    std::optional<std::size_t> operand;
    const auto& arguments = step.schema->arguments();
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      const c10::AliasInfo* alias = arguments[i].alias_info();
      if (alias == nullptr || !alias->isWrite()) continue;
      if (operand || i >= step.in.size()) return std::nullopt;
      operand = i;
    }
    if (!operand) return std::nullopt;
    const c10::TypeKind kind = arguments[*operand].type()->kind();
    const bool copied = kind == c10::TypeKind::TensorType || kind == c10::TypeKind::ListType;
    const bool comes_back = arguments[*operand].alias_info()->beforeSets() ==
                            step.schema->returns()[0].alias_info()->beforeSets();
    return copied && comes_back ? operand : std::nullopt;
  }

  bool copy(int index, const std::vector<int>& written) {
    Instruction& step = program_.steps[slot(index)];
    const auto operand = written_operand(step);
    if (!operand) return false;
    const int target = step.in[*operand], result = step.out[0];
    for (const int other : written) {
      const int made = made_[slot(other)];
      if (made < 0 && other != program_.input) return false;  // the network's own
      // What is made later is made of the result, or of what is read by another name then.
      if (other != target && made < index && last_[slot(other)] >= index) return false;
    }
    step.run = [run = step.run, at = *operand](torch::jit::Stack& stack) mutable {
      c10::IValue& value = stack[at];
      value = value.isTensor() ? c10::IValue(copy_of(value.toTensor()))
                               : c10::IValue(value.toList().copy());
      run(stack);
    };
    for (std::size_t i = slot(index) + 1; i < program_.steps.size(); ++i) {
      exchange(program_.steps[i], target, result);
    }
    if (program_.output == target) program_.output = result;
    last_[slot(result)] = std::max(last_[slot(result)], last_[slot(target)]);
    last_[slot(target)] = index;
    return true;
  }

  Instructions& program_;
  std::vector<int> made_, last_;  // by slot: the steps that make it and read it last
};

}  // namespace

void copy_on_write(Instructions& program) { Copier(program).run(); }

}  // namespace bitfall
