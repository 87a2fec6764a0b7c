#include "copy_on_write.h"

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace bitfall {
namespace {

// The step's operation, on a copy of the operand that it writes to.
torch::jit::Operation on_copy(torch::jit::Operation run, std::size_t operand, std::size_t names) {
  return [run = std::move(run), operand, names](torch::jit::Stack& stack) mutable {
    if (!stack[operand].isTensor()) {
      stack[operand] = stack[operand].toList().copy();
      return run(stack);
    }
    const at::Tensor written = stack[operand].toTensor();
    const MovedMemory moved(written);
    stack[operand] = moved.moved() || !written.defined() ? moved.of(written) : written.clone();
    const torch::jit::Stack others(stack.end() - static_cast<std::ptrdiff_t>(names), stack.end());
    stack.resize(stack.size() - names);
    run(stack);
    for (const c10::IValue& other : others) stack.emplace_back(moved.of(other.toTensor()));
  };
}

// Operators that give a tensor another memory, sizes or strides, which other names of the same
// tensor have then, too.
bool changes_tensor(const std::string& function) {
  static const std::set<std::string> kNames = {
      "aten::set_",       "aten::resize_",    "aten::resize_as_", "aten::as_strided_",
      "aten::transpose_", "aten::t_",         "aten::swapaxes_",  "aten::swapdims_",
      "aten::squeeze_",   "aten::unsqueeze_", "aten::detach_"};
  return kNames.count(function) > 0;
}

// Which operand the step writes to, if it is one, and comes back as its one result.
std::optional<std::size_t> written_operand(const Instruction& step) {
  if (step.kind != Instruction::Kind::kCall || !step.in_place() || step.out.size() != 1 ||
      step.schema->is_vararg() || step.schema->returns().size() != 1 ||
      step.schema->returns()[0].alias_info() == nullptr || changes_tensor(step.function)) {
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
  const c10::TypePtr& type = arguments[*operand].type();
  const bool copied = type->kind() == c10::TypeKind::TensorType || is_any_list(type);
  const bool comes_back = arguments[*operand].alias_info()->beforeSets() ==
                          step.schema->returns()[0].alias_info()->beforeSets();
  return copied && comes_back ? operand : std::nullopt;
}

class Copier {
 public:
  explicit Copier(Instructions& program) : program_(program), slots_(program.fixed.size()) {
    for (std::size_t i = 0; i < slots_.size(); ++i) names_.push_back({static_cast<int>(i)});
    of(program.input).tensor = true;
    for (std::size_t i = 0; i < program.steps.size(); ++i) {
      const Instruction& step = program.steps[i];
      for (std::size_t j = 0; j < step.out.size(); ++j) {
        of(step.out[j]).tensor = step.types[j] == ResultType::kTensor;
      }
      note(step, static_cast<int>(i));
    }
    of(program.output).read = static_cast<int>(program.steps.size());
  }

  void run() {
    const std::vector<Write> writes = std::move(program_.writes);  // by step
    program_.writes.clear();
    for (auto first = writes.begin(); first != writes.end();) {
      const int step = first->step;
      const auto end =
          std::find_if(first, writes.end(), [&](const Write& write) { return write.step != step; });
      std::set<int> known;
      for (auto write = first; write != end; ++write)
        known.insert(names_[index(write->slot)].back());
      if (!copy(step, known)) keep(step, first, end);
      first = end;
    }
    for (const auto& [slot, to] : shared_) program_.shared.push_back({slot, of(slot).made, to});
  }

 private:
  struct Slot {
    int made = -1, read = -1;  // by which step, and by which one last
    bool tensor = false;
  };

  static std::size_t index(int slot) { return static_cast<std::size_t>(slot); }
  Slot& of(int slot) { return slots_[index(slot)]; }

  // A table at an earlier step has the value by an earlier name.
  void keep(int step, std::vector<Write>::const_iterator write,
            std::vector<Write>::const_iterator end) {
    std::set<int> names;
    for (; write != end; ++write) {
      const std::vector<int>& all = names_[index(write->slot)];
      names.insert(all.begin(), all.end());
    }
    for (const int name : names) program_.writes.push_back({step, name});
  }

  void note(const Instruction& step, int at) {
    for (const int out : step.out) of(out).made = at;
    for (const int in : step.in) of(in).read = at;
    for (const CompiledBranch& branch : step.branches) {
      for (const int input : branch.inputs) of(input).made = at;
      for (const Instruction& inner : branch.instructions) note(inner, at);
      for (const int output : branch.outputs) of(output).read = at;
    }
  }

  bool copy(int at, const std::set<int>& written) {
    Instruction& step = program_.steps[index(at)];
    const auto operand = written_operand(step);
    if (!operand) return false;
    const int target = step.in[*operand], result = step.out[0];
    std::vector<int> names;  // that are read later
    for (const int other : written) {
      if (of(other).made < 0 && other != program_.input) return false;  // the network's own
      // What is made later is made of what these are then.
      if (other == target || of(other).made >= at || of(other).read <= at) continue;
      if (!of(other).tensor || !of(target).tensor) return false;
      names.push_back(other);
    }
    step.run = on_copy(std::move(step.run), *operand, names.size());
    step.names = names.size();
    if (!names.empty()) {
      for (const int one : written) {  // also those by which the target comes to its memory
        const int last = std::min(at, of(one).read);
        if (of(one).made < last) shared_[one] = last;
      }
    }
    exchange_behind(at, target, result);
    for (const int name : names) {
      const auto fresh = static_cast<int>(slots_.size());
      slots_.push_back({at, of(name).read, true});
      program_.fixed.emplace_back();
      step.in.push_back(name);
      step.out.push_back(fresh);
      step.types.push_back(ResultType::kTensor);
      exchange_behind(at, name, fresh);
    }
    return true;
  }

  // All later steps read another slot instead.
  void exchange_behind(int at, int from, int to) {
    for (std::size_t i = index(at) + 1; i < program_.steps.size(); ++i) {
      exchange_reads(program_.steps[i], from, to);
    }
    if (program_.output == from) program_.output = to;
    for (std::vector<int>& names : names_) {
      if (names.back() == from) names.push_back(to);
    }
    of(to).read = std::max(of(to).read, of(from).read);
    of(from).read = at;
  }

  Instructions& program_;
  std::vector<Slot> slots_;
  std::vector<std::vector<int>>
      names_;                  // by the slots of `writes`: where what they named has been, and is
  std::map<int, int> shared_;  // by slot: up to which step
};

}  // namespace

void settle_writes(Instructions& program,
                   const std::function<void(const NeedlessWrite&)>& exchange) {
  for (const NeedlessWrite& write : take_out_needless_writes(program)) exchange(write);
  program.writes = find_writes(program);
  Copier(program).run();
}

}  // namespace bitfall
