#include "shared_memory.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace bitfall {
namespace {

// May give an operand back, or a view of it, and do not say so in their schemas. Found by calling
// every operator of LibTorch and comparing the storages.
bool may_hand_back(std::string_view name) {
  static const std::unordered_set<std::string_view> kNames = {
      "aten::dropout",           "aten::feature_dropout",      "aten::alpha_dropout",
      "aten::feature_alpha_dropout", "aten::type_as",          "aten::to_dense",
      "aten::data",              "aten::lift",                 "aten::_unsafe_view",
      "aten::unsafe_chunk",      "aten::unsafe_split",         "aten::unsafe_split_with_sizes",
      "aten::meshgrid",          "aten::broadcast_tensors",    "aten::cartesian_prod",
      "aten::atleast_1d",        "aten::atleast_2d",           "aten::atleast_3d",
      "aten::einsum",            "aten::conj_physical",        "aten::sum_to_size",
      "aten::flatten_dense_tensors", "aten::unflatten_dense_tensors"};
  return kNames.count(name) > 0 || name.starts_with("aten::_cast_");
}

class MemoryFlow {
 public:
  explicit MemoryFlow(const Instructions& program)
      : program_(program), memory_(program.fixed.size()) {
    std::map<const void*, int> storages;
    for (std::size_t slot = 0; slot < program.fixed.size(); ++slot) {
      const c10::IValue& value = program.fixed[slot];
      if (!value.isTensor() || !value.toTensor().defined()) continue;
      const void* storage = value.toTensor().storage().unsafeGetStorageImpl();
      memory_[slot].insert(storages.try_emplace(storage, static_cast<int>(storages.size()))
                               .first->second);
    }
    next_ = static_cast<int>(storages.size());
    of(program.input).insert(next_++);
  }

  std::vector<Write> run() {
    for (const Instruction& step : program_.steps) pass(step);
    std::map<int, std::vector<int>> slots;  // by memory
    for (std::size_t slot = 0; slot < memory_.size(); ++slot) {
      for (const int memory : memory_[slot]) slots[memory].push_back(static_cast<int>(slot));
    }
    std::vector<Write> writes;
    for (std::size_t i = 0; i < program_.steps.size(); ++i) {
      std::set<int> touched;
      for (const int memory : written_by(program_.steps[i])) {
        touched.insert(slots[memory].begin(), slots[memory].end());
      }
      for (const int slot : touched) writes.push_back({static_cast<int>(i), slot});
    }
    return writes;
  }

 private:
  using Memory = std::set<int>;
  Memory& of(int slot) { return memory_[static_cast<std::size_t>(slot)]; }

  std::set<int> written_by(const Instruction& step) {
    std::set<int> written;
    if (!step.in_place()) return written;
    const auto& arguments = step.schema->arguments();
    for (std::size_t i = 0; i < arguments.size() && i < step.in.size(); ++i) {
      const c10::AliasInfo* alias = arguments[i].alias_info();
      if (alias != nullptr && alias->isWrite()) {
        written.insert(of(step.in[i]).begin(), of(step.in[i]).end());
      }
    }
    return written;
  }

  // Memory of the operands that a result may lie in. Lists and tuples hold that of what is in them.
  Memory shared(const Instruction& step, std::size_t result) {
    Memory memory;
    const bool container = step.schema == nullptr;
    const bool all = container || may_hand_back(step.function);
    const bool told = !container && result < step.schema->returns().size() &&
                      step.schema->returns()[result].alias_info() != nullptr;
    for (std::size_t i = 0; (all || told) && i < step.in.size(); ++i) {
      const bool named = !container && i < step.schema->arguments().size() &&
                         step.schema->arguments()[i].alias_info() != nullptr;
      if (all || named) memory.insert(of(step.in[i]).begin(), of(step.in[i]).end());
    }
    return memory;
  }

  void pass(const Instruction& step) {
    std::vector<Memory> made;
    for (std::size_t j = 0; j < step.out.size(); ++j) {
      made.push_back(step.types[j] == ResultType::kNumber ? Memory() : shared(step, j));
      if (made.back().empty() && step.types[j] != ResultType::kNumber) made.back().insert(next_++);
    }
    for (std::size_t j = 0; j < step.out.size(); ++j) of(step.out[j]) = std::move(made[j]);
  }

  const Instructions& program_;
  std::vector<Memory> memory_;  // by slot
  int next_ = 0;
};

}  // namespace

std::vector<Write> find_writes_by_schema(const Instructions& program) {
  return MemoryFlow(program).run();
}

}  // namespace bitfall
