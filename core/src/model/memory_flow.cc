#include "memory_flow.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <unordered_set>
#include <utility>

namespace bitfall {

// Found by calling every operator of LibTorch and comparing the storages.
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
                                                              "aten::unflatten_dense_tensors",
                                                              "aten::dequantize",
                                                              "aten::set_"};
  return kNames.count(name) > 0 || name.starts_with("aten::_cast_");
}

SharedWith shared_with(const c10::FunctionSchema& schema, std::size_t result, ResultType type) {
  if (schema.name().starts_with("prim::") || may_hand_back(schema.name()) ||
      result >= schema.returns().size()) {
    return SharedWith::kAll;
  }
  const c10::Argument& made = schema.returns()[result];
  const c10::AliasInfo* alias = made.alias_info();
  const bool new_tensors = *made.type() == *c10::ListType::ofTensors();
  if (alias == nullptr && (type != ResultType::kOther || new_tensors)) return SharedWith::kNone;
  if (alias == nullptr || alias->isWildcardBefore() || alias->isWildcardAfter()) {
    return SharedWith::kAll;
  }
  return SharedWith::kNamed;
}

bool is_any_list(const c10::TypePtr& type) {
  const auto list = type->cast<c10::ListType>();
  return list && list->getElementType()->kind() == c10::TypeKind::VarType;
}

namespace {

bool is_container(const c10::TypePtr& type) {
  return type->kind() == c10::TypeKind::ListType || type->kind() == c10::TypeKind::DictType ||
         type->kind() == c10::TypeKind::ClassType;
}

// The memory that each slot may hold, as numbers, and which step has made it. Each list, dictionary
// and object counts as a memory, too, which those that hold it hold with all that is in it.
class MemoryFlow {
 public:
  explicit MemoryFlow(const Instructions& program)
      : program_(program), memory_(program.fixed.size()) {
    for (std::size_t slot = 0; slot < program.fixed.size(); ++slot) add_fixed(slot);
    add(program.input, {own(nullptr, 0, -1, /*container=*/false)});
    do {
      changed_ = false;
      for (std::size_t i = 0; i < program.steps.size(); ++i) {
        pass(program.steps[i], static_cast<int>(i));
      }
    } while (changed_);
  }

  const std::set<int>& of(int slot) const { return memory_[static_cast<std::size_t>(slot)]; }
  /// The step that made it; -1 if it was there before.
  int maker(int memory) const { return makers_[static_cast<std::size_t>(memory)]; }
  void set_maker(int memory, int step) { makers_[static_cast<std::size_t>(memory)] = step; }

  std::set<int> written_by(const Instruction& step) const {
    std::set<int> written;
    for (const CompiledBranch& branch : step.branches) {
      for (const Instruction& inner : branch.instructions) written.merge(written_by(inner));
    }
    if (!step.in_place()) return written;
    const auto& arguments = step.schema->arguments();
    for (std::size_t i = 0; i < arguments.size() && i < step.in.size(); ++i) {
      const c10::AliasInfo* alias = arguments[i].alias_info();
      if (alias == nullptr || !alias->isWrite()) continue;
      const c10::TypeKind kind = arguments[i].type()->kind();
      const bool container = kind == c10::TypeKind::DictType || is_any_list(arguments[i].type());
      const bool tensor = kind == c10::TypeKind::TensorType;
      for (const int memory : of(step.in[i])) {
        if (is_container_[static_cast<std::size_t>(memory)] ? !tensor : !container) {
          written.insert(memory);
        }
      }
    }
    return written;
  }

 private:
  using Memory = std::set<int>;

  void add(int slot, const Memory& memory) {
    Memory& known = memory_[static_cast<std::size_t>(slot)];
    const std::size_t before = known.size();
    known.insert(memory.begin(), memory.end());
    changed_ |= known.size() > before;
  }

  int new_memory(int step, bool container) {
    makers_.push_back(step);
    is_container_.push_back(container);
    return static_cast<int>(makers_.size()) - 1;
  }

  // What the instruction itself makes as that result.
  int own(const Instruction* made_by, std::size_t result, int step, bool container) {
    const auto [known, fresh] = own_.try_emplace({made_by, result, container}, -1);
    if (fresh) known->second = new_memory(step, container);
    return known->second;
  }

  // Of a tensor that was there before the first step; nothing for what is no tensor.
  std::optional<int> memory_of(const c10::IValue& value) {
    if (!value.isTensor() || !value.toTensor().defined() || !value.toTensor().has_storage()) {
      return std::nullopt;
    }
    const void* storage = value.toTensor().storage().unsafeGetStorageImpl();
    const auto [known, fresh] = storages_.try_emplace(storage, -1);
    if (fresh) known->second = new_memory(-1, false);
    return known->second;
  }

  // Constants and the network's own. What is not a tensor may hold every one of them.
  void add_fixed(std::size_t slot) {
    const c10::IValue& value = program_.fixed[slot];
    Memory memory;
    if (const auto own_memory = memory_of(value)) {
      memory.insert(*own_memory);
    } else if (value.isIntList() || value.isDoubleList() || value.isBoolList()) {
      memory.insert(new_memory(-1, true));
    } else if (value.isList() || value.isTuple() || value.isGenericDict() || value.isObject()) {
      memory.insert(own(nullptr, 1, -1, true));
      for (const c10::IValue& other : program_.fixed) {
        if (const auto held = memory_of(other)) memory.insert(*held);
      }
    }
    add(static_cast<int>(slot), memory);
  }

  Memory of_operands(const Instruction& step) const {
    Memory memory;
    for (const int slot : step.in) memory.insert(of(slot).begin(), of(slot).end());
    return memory;
  }

  // Memory of the operands that a result may lie in, or hold, by what the operator says.
  Memory shared(const Instruction& step, std::size_t result) const {
    const SharedWith with = step.schema == nullptr
                                ? SharedWith::kAll
                                : shared_with(*step.schema, result, step.types[result]);
    if (with == SharedWith::kAll) return of_operands(step);
    Memory memory;
    if (with == SharedWith::kNone) return memory;
    const auto& arguments = step.schema->arguments();
    for (std::size_t i = 0; i < arguments.size() && i < step.in.size(); ++i) {
      if (arguments[i].alias_info() == nullptr) continue;
      memory.insert(of(step.in[i]).begin(), of(step.in[i]).end());
    }
    return memory;
  }

  // What of it a result of that type can hold. Lists of numbers are numbers, too.
  Memory possible(const Instruction& step, std::size_t result, const Memory& memory) const {
    const ResultType type = step.types[result];
    Memory kept;
    for (const int one : memory) {
      const bool container = is_container_[static_cast<std::size_t>(one)];
      if (type == ResultType::kOther || container == (type == ResultType::kNumber)) {
        kept.insert(one);
      }
    }
    const bool element = step.schema != nullptr && result < step.schema->returns().size() &&
                         step.schema->returns()[result].type()->kind() == c10::TypeKind::VarType;
    // An element of a list of numbers, where it is no list of lists.
    if (type == ResultType::kNumber && element && kept.size() == 1) kept.clear();
    return kept;
  }

  void make(const Instruction& step, std::size_t result, int at) {
    const ResultType type = step.types[result];
    Memory made = possible(step, result, shared(step, result));
    if (type != ResultType::kNumber && made.empty()) made.insert(own(&step, result, at, false));
    const bool container = step.schema == nullptr || result >= step.schema->returns().size() ||
                           is_container(step.schema->returns()[result].type());
    if (type != ResultType::kTensor && container) made.insert(own(&step, result, at, true));
    add(step.out[result], made);
  }

  // What is put into a list, dictionary or object is in all that hold it.
  void put(const Instruction& step) {
    const bool sets = step.function == "prim::SetAttr";
    if (!sets && !step.in_place()) return;
    Memory containers;
    for (const int memory : sets ? of(step.in[0]) : written_by(step)) {
      if (is_container_[static_cast<std::size_t>(memory)]) containers.insert(memory);
    }
    if (containers.empty()) return;
    const Memory operands = of_operands(step);
    for (std::size_t slot = 0; slot < memory_.size(); ++slot) {
      const bool holds = std::any_of(containers.begin(), containers.end(),
                                     [&](int memory) { return memory_[slot].count(memory) > 0; });
      if (holds) add(static_cast<int>(slot), operands);
    }
  }

  void pass(const Instruction& step, int at) {
    if (step.kind == Instruction::Kind::kCall) {
      for (std::size_t j = 0; j < step.types.size(); ++j) make(step, j, at);
      if (step.function == "aten::set_") add(step.in[0], of_operands(step));
      return put(step);
    }
    const bool loop = step.kind == Instruction::Kind::kLoop;
    for (const CompiledBranch& branch : step.branches) {
      for (std::size_t j = 1; j < branch.inputs.size(); ++j) {  // of a loop's body
        add(branch.inputs[j], of(step.in[j + 1]));
        add(branch.inputs[j], of(branch.outputs[j]));
      }
      for (const Instruction& inner : branch.instructions) pass(inner, at);
      for (std::size_t j = 0; j < step.out.size() && !branch.raises; ++j) {
        add(step.out[j], of(branch.outputs[loop ? j + 1 : j]));
      }
    }
    for (std::size_t j = 0; loop && j < step.out.size(); ++j) add(step.out[j], of(step.in[j + 2]));
  }

  const Instructions& program_;
  std::vector<Memory> memory_;  // by slot
  std::vector<int> makers_;     // by memory
  std::vector<bool> is_container_;
  std::map<std::tuple<const Instruction*, std::size_t, bool>, int> own_;
  std::map<const void*, int> storages_;
  bool changed_ = false;
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
    std::set<int> reads;
    collect_reads(program.steps[static_cast<std::size_t>(i)], reads);
    for (const int slot : reads) {
      if (flow.of(slot).count(memory) > 0) return true;
    }
  }
  return false;
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
    // A conditional or a loop may give one memory by several names.
    if (maker < 0 ||
        program.steps[static_cast<std::size_t>(maker)].kind != Instruction::Kind::kCall ||
        is_read(program, flow, memory, maker + 1, static_cast<int>(i))) {
      continue;
    }
    found.push_back({i, *operation});
    flow.set_maker(memory, static_cast<int>(i));
    for (std::size_t later = i + 1; later < program.steps.size(); ++later) {
      exchange_reads(program.steps[later], written, step.out[0]);
    }
    if (program.output == written) program.output = step.out[0];
  }
  return found;
}

std::vector<Write> find_writes(const Instructions& program) {
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
