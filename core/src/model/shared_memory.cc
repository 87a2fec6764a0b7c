#include "shared_memory.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace bitfall {
namespace {

// May give an operand back, or a view of it, and do not say so in their schemas. Found by calling
// every operator of LibTorch and comparing the storages.
bool may_hand_back(std::string_view name) {
  static const std::unordered_set<std::string_view> kNames = {"aten::dropout",
                                                              "aten::feature_dropout",
                                                              "aten::alpha_dropout",
                                                              "aten::feature_alpha_dropout",
                                                              "aten::type_as",
                                                              "aten::to_dense",
                                                              "aten::data",
                                                              "aten::lift",
                                                              "aten::_unsafe_view",
                                                              "aten::unsafe_chunk",
                                                              "aten::unsafe_split",
                                                              "aten::unsafe_split_with_sizes",
                                                              "aten::meshgrid",
                                                              "aten::broadcast_tensors",
                                                              "aten::cartesian_prod",
                                                              "aten::atleast_1d",
                                                              "aten::atleast_2d",
                                                              "aten::atleast_3d",
                                                              "aten::einsum",
                                                              "aten::conj_physical",
                                                              "aten::sum_to_size",
                                                              "aten::flatten_dense_tensors",
                                                              "aten::unflatten_dense_tensors"};
  return kNames.count(name) > 0 || name.starts_with("aten::_cast_");
}

// The memory that each slot may hold, as numbers, and which step has made it.
class MemoryFlow {
 public:
  explicit MemoryFlow(const Instructions& program)
      : program_(program), memory_(program.fixed.size()) {
    std::map<const void*, int> storages;
    for (std::size_t slot = 0; slot < program.fixed.size(); ++slot) {
      const c10::IValue& value = program.fixed[slot];
      if (!value.isTensor() || !value.toTensor().defined()) continue;
      const void* storage = value.toTensor().storage().unsafeGetStorageImpl();
      const auto number = static_cast<int>(storages.size());
      memory_[slot].insert(storages.try_emplace(storage, number).first->second);
    }
    makers_.assign(storages.size(), -1);
    memory_[static_cast<std::size_t>(program.input)].insert(new_memory(-1));
    for (std::size_t i = 0; i < program.steps.size(); ++i) pass(static_cast<int>(i));
  }

  const std::set<int>& of(int slot) const { return memory_[static_cast<std::size_t>(slot)]; }
  /// The step that made it; -1 if it was there before.
  int maker(int memory) const { return makers_[static_cast<std::size_t>(memory)]; }
  void set_maker(int memory, int step) { makers_[static_cast<std::size_t>(memory)] = step; }

  std::set<int> written_by(const Instruction& step) const {
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

 private:
  using Memory = std::set<int>;

  int new_memory(int step) {
    makers_.push_back(step);
    return static_cast<int>(makers_.size()) - 1;
  }

  // Memory of the operands that a result may lie in. Lists and tuples hold that of what is in them.
  Memory shared(const Instruction& step, std::size_t result) const {
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

  void pass(int i) {
    const Instruction& step = program_.steps[static_cast<std::size_t>(i)];
    std::vector<Memory> made;
    for (std::size_t j = 0; j < step.out.size(); ++j) {
      const bool number = step.types[j] == ResultType::kNumber;
      made.push_back(number ? Memory() : shared(step, j));
      if (!number && made.back().empty()) made.back().insert(new_memory(i));
    }
    for (std::size_t j = 0; j < step.out.size(); ++j) {
      memory_[static_cast<std::size_t>(step.out[j])] = std::move(made[j]);
    }
  }

  const Instructions& program_;
  std::vector<Memory> memory_;  // by slot
  std::vector<int> makers_;     // by memory
};

// relu of relu_, where both take the same; nothing where there is none.
std::optional<c10::OperatorHandle> without_writing(const Instruction& step) {
  if (!step.in_place() || step.out.size() != 1 || !step.function.starts_with("aten::") ||
      !step.function.ends_with('_')) {
    return std::nullopt;
  }
  const c10::FunctionSchema& own = *step.schema;
  const auto other = c10::Dispatcher::singleton().findSchema(
      {own.name().substr(0, own.name().size() - 1), own.overload_name()});
  if (!other || other->schema().is_mutable() || other->schema().returns().size() != 1 ||
      other->schema().arguments().size() != own.arguments().size()) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < own.arguments().size(); ++i) {
    const c10::Argument &mine = own.arguments()[i], &theirs = other->schema().arguments()[i];
    const bool writes = mine.alias_info() != nullptr;
    if (mine.name() != theirs.name() || *mine.type() != *theirs.type() || writes != (i == 0)) {
      return std::nullopt;
    }
  }
  return other;
}

// Whether any of those steps reads the memory.
bool is_read(const Instructions& program, const MemoryFlow& flow, int memory, int from, int to) {
  for (int i = from; i < to; ++i) {
    for (const int slot : program.steps[static_cast<std::size_t>(i)].in) {
      if (flow.of(slot).count(memory) > 0) return true;
    }
  }
  return false;
}

void rename(Instructions& program, std::size_t from, int slot, int to) {
  for (std::size_t i = from; i < program.steps.size(); ++i) {
    std::replace(program.steps[i].in.begin(), program.steps[i].in.end(), slot, to);
  }
  if (program.output == slot) program.output = to;
}

}  // namespace

std::vector<NeedlessWrite> take_out_needless_writes(Instructions& program) {
  std::vector<NeedlessWrite> found;
  MemoryFlow flow(program);
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    Instruction& step = program.steps[i];
    const auto operation = without_writing(step);
    if (!operation) continue;
    const int written = step.in[0];
    if (flow.of(written).size() != 1) continue;
    const int memory = *flow.of(written).begin();
    const int maker = flow.maker(memory);
    if (maker < 0 || is_read(program, flow, memory, maker + 1, static_cast<int>(i))) continue;
    found.push_back({i, *operation});
    flow.set_maker(memory, static_cast<int>(i));
    rename(program, i + 1, written, step.out[0]);
  }
  return found;
}

std::vector<Write> find_writes_by_schema(const Instructions& program) {
  const MemoryFlow flow(program);
  std::map<int, std::vector<int>> slots;  // by memory
  for (std::size_t slot = 0; slot < program.fixed.size(); ++slot) {
    for (const int memory : flow.of(static_cast<int>(slot))) {
      slots[memory].push_back(static_cast<int>(slot));
    }
  }
  std::vector<Write> writes;
  for (std::size_t i = 0; i < program.steps.size(); ++i) {
    std::set<int> touched;
    for (const int memory : flow.written_by(program.steps[i])) {
      touched.insert(slots[memory].begin(), slots[memory].end());
    }
    for (const int slot : touched) writes.push_back({static_cast<int>(i), slot});
  }
  return writes;
}

}  // namespace bitfall
