#include "instruction.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/enum_tag.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "pass_limit.h"

namespace bitfall {

MovedMemory::MovedMemory(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.has_storage()) return;
  from_ = tensor.storage().unsafeGetStorageImpl();
  const auto bytes = static_cast<std::int64_t>(tensor.storage().nbytes());
  if (tensor.is_quantized()) {
    const auto items = bytes / static_cast<std::int64_t>(tensor.element_size());
    to_ = tensor.as_strided({items}, {1}, 0).clone();
    return;
  }
  to_ = at::empty({0}, tensor.options().dtype(at::kByte)).set_(tensor.storage(), 0, {bytes}, {1});
  to_ = to_.clone();
}

at::Tensor MovedMemory::of(const at::Tensor& tensor) const {
  if (!tensor.defined() || !tensor.has_storage() ||
      tensor.storage().unsafeGetStorageImpl() != from_) {
    return tensor;
  }
  const auto offset = tensor.storage_offset();
  if (to_.is_quantized()) return to_.as_strided(tensor.sizes(), tensor.strides(), offset);
  at::Tensor there = at::empty({0}, tensor.options());
  there.set_(to_.storage(), offset, tensor.sizes(), tensor.strides());
  there._set_conj(tensor.is_conj());
  there._set_neg(tensor.is_neg());
  return there;
}

namespace {

void execute_if(const Instruction& instruction, Slots& slots, const CallObserver* observer) {
  const bool condition = slots[instruction.in[0]].toBool();
  const CompiledBranch& branch = instruction.branches[condition ? 0 : 1];
  for (const Instruction& inner : branch.instructions) execute(inner, slots, observer);
  for (std::size_t j = 0; j < instruction.out.size(); ++j) {
    slots[instruction.out[j]] = slots[branch.outputs[j]];
  }
}

void execute_loop(const Instruction& instruction, Slots& slots, const CallObserver* observer) {
  const std::int64_t limit = slots[instruction.in[0]].toInt();
  bool go_on = slots[instruction.in[1]].toBool();
  const CompiledBranch& body = instruction.branches[0];
  std::vector<c10::IValue> carried;
  for (std::size_t j = 2; j < instruction.in.size(); ++j) {
    carried.push_back(slots[instruction.in[j]]);
  }
  for (std::int64_t i = 0; i < limit && go_on; ++i) {
    PassLimit::check();
    slots[body.inputs[0]] = i;
    for (std::size_t j = 0; j < carried.size(); ++j) slots[body.inputs[j + 1]] = carried[j];
    for (const Instruction& inner : body.instructions) execute(inner, slots, observer);
    go_on = slots[body.outputs[0]].toBool();
    for (std::size_t j = 0; j < carried.size(); ++j) carried[j] = slots[body.outputs[j + 1]];
  }
  for (std::size_t j = 0; j < carried.size(); ++j) slots[instruction.out[j]] = carried[j];
}

// Clones what lies in a table: one clone for each storage, tensor and container, so that views stay
// views, and a list within another, or a tensor by two names, stays the same.
class Cloner {
 public:
  c10::IValue clone(const c10::IValue& value) {
    if (value.isTensor()) return value.toTensor().defined() ? clone(value.toTensor()) : value;
    if (!value.isList() && !value.isTuple() && !value.isGenericDict()) return value;
    for (const auto& [known, copy] : containers_) {
      if (value.is(known)) return copy;
    }
    if (value.isTuple()) return clone_tuple(value);
    return value.isList() ? clone_list(value) : clone_dictionary(value);
  }

 private:
  c10::IValue clone_list(const c10::IValue& value) {
    c10::impl::GenericList copy = value.toList().copy();
    containers_.emplace_back(value, copy);
    for (std::size_t i = 0; i < copy.size(); ++i) copy.set(i, clone(copy.get(i)));
    return copy;
  }

  c10::IValue clone_dictionary(const c10::IValue& value) {
    c10::impl::GenericDict copy = value.toGenericDict().copy();
    containers_.emplace_back(value, copy);
    for (const auto& entry : copy) entry.setValue(clone(entry.value()));
    return copy;
  }

  c10::IValue clone_tuple(const c10::IValue& value) {
    std::vector<c10::IValue> elements;
    for (const c10::IValue& one : value.toTupleRef().elements()) elements.push_back(clone(one));
    c10::IValue copy =
        c10::ivalue::Tuple::createNamed(std::move(elements), value.toTupleRef().type());
    containers_.emplace_back(value, copy);
    return copy;
  }

  at::Tensor clone(const at::Tensor& tensor) {
    at::Tensor& copy = tensors_[tensor.unsafeGetTensorImpl()];
    if (copy.defined()) return copy;
    if (!tensor.has_storage()) return copy = tensor.clone();
    MovedMemory& memory = memory_[tensor.storage().unsafeGetStorageImpl()];
    if (!memory.moved()) memory = MovedMemory(tensor);
    return copy = memory.of(tensor);
  }

  std::map<const void*, MovedMemory> memory_;
  std::map<const void*, at::Tensor> tensors_;
  std::vector<std::pair<c10::IValue, c10::IValue>> containers_;
};

// What a table taken at step `at` needs of its own: slots that are written to from there on, and
// slots that share memory where that matters.
std::set<int> slots_of_own(const Instructions& program, int at) {
  std::set<int> slots;
  for (const Write& write : program.writes) {
    if (write.step >= at) slots.insert(write.slot);
  }
  for (const SharedMemory& one : program.shared) {
    if (one.from < at && at <= one.to) slots.insert(one.slot);
  }
  return slots;
}

// Two values of one table: whether they are, or hold, the same memory in the same way as another
// table's two.
bool lie_alike(const c10::IValue& a, const c10::IValue& b, const c10::IValue& other_a,
               const c10::IValue& other_b) {
  if (!a.isTensor() || !b.isTensor()) return a.is(b) == other_a.is(other_b);
  const at::Tensor &left = a.toTensor(), &right = b.toTensor();
  const at::Tensor &other_left = other_a.toTensor(), &other_right = other_b.toTensor();
  const bool shared = left.is_alias_of(right);
  if (shared != other_left.is_alias_of(other_right)) return false;
  return !shared ||
         (left.storage_offset() - right.storage_offset() ==
              other_left.storage_offset() - other_right.storage_offset() &&
          left.strides() == other_left.strides() && right.strides() == other_right.strides());
}

// The tensors, lists and objects in slots, and the tensors and lists that those hold.
std::vector<c10::IValue> held_by(const Slots& slots, const std::set<int>& wanted) {
  std::vector<c10::IValue> held;
  for (const int slot : wanted) {
    slots[static_cast<std::size_t>(slot)].visit([&](const c10::IValue& value) {
      const bool memory = value.isTensor() ? value.toTensor().has_storage() : value.isPtrType();
      if (memory) held.push_back(value);
      return false;
    });
  }
  return held;
}

}  // namespace

ResultType result_type(const c10::TypePtr& type) {
  switch (type->kind()) {
    case c10::TypeKind::TensorType:
      return ResultType::kTensor;
    case c10::TypeKind::IntType:
    case c10::TypeKind::FloatType:
    case c10::TypeKind::BoolType:
    case c10::TypeKind::ComplexType:
    case c10::TypeKind::NumberType:
    case c10::TypeKind::StringType:
    case c10::TypeKind::DeviceObjType:
    case c10::TypeKind::NoneType:
      return ResultType::kNumber;
    case c10::TypeKind::ListType:
    case c10::TypeKind::OptionalType:
    case c10::TypeKind::TupleType: {
      const auto inner = type->containedTypes();
      const bool numbers = std::all_of(inner.begin(), inner.end(), [](const c10::TypePtr& one) {
        return result_type(one) == ResultType::kNumber;
      });
      return numbers ? ResultType::kNumber : ResultType::kOther;
    }
    default:
      return ResultType::kOther;
  }
}

OperatorTags tags_of(const c10::FunctionSchema& schema) {
  const auto operation = c10::Dispatcher::singleton().findSchema(schema.operator_name());
  if (!operation) return {};
  return {operation->hasTag(at::Tag::nondeterministic_seeded),
          operation->hasTag(at::Tag::dynamic_output_shape)};
}

const c10::IValue* Instruction::argument(const std::string& name, const Slots& slots) const {
  if (!schema) return nullptr;
  const auto& arguments = schema->arguments();
  for (std::size_t i = 0; i < arguments.size() && i < in.size(); ++i) {
    if (arguments[i].name() == name) return &slots[static_cast<std::size_t>(in[i])];
  }
  return nullptr;
}

bool writes_to_state(const Instructions& program) {
  return std::any_of(program.writes.begin(), program.writes.end(), [&](const Write& write) {
    const c10::IValue& value = program.fixed[static_cast<std::size_t>(write.slot)];
    return value.isTensor() && value.toTensor().defined();
  });
}

void set_operator(Instruction& instruction, const c10::OperatorHandle& operation) {
  instruction.schema = &operation.schema();
  instruction.function = instruction.schema->name();
  instruction.tags = tags_of(*instruction.schema);
  instruction.run = [operation](torch::jit::Stack& stack) { operation.callBoxed(stack); };
}

void collect_reads(const Instruction& instruction, std::set<int>& reads) {
  reads.insert(instruction.in.begin(), instruction.in.end());
  for (const CompiledBranch& branch : instruction.branches) {
    for (const Instruction& inner : branch.instructions) collect_reads(inner, reads);
    reads.insert(branch.outputs.begin(), branch.outputs.end());
  }
}

void exchange_reads(Instruction& instruction, int from, int to) {
  std::replace(instruction.in.begin(), instruction.in.end(), from, to);
  for (CompiledBranch& branch : instruction.branches) {
    for (Instruction& inner : branch.instructions) exchange_reads(inner, from, to);
    std::replace(branch.outputs.begin(), branch.outputs.end(), from, to);
  }
}

void execute(const Instruction& instruction, Slots& slots, const CallObserver* observer) {
  if (instruction.kind == Instruction::Kind::kIf) return execute_if(instruction, slots, observer);
  if (instruction.kind == Instruction::Kind::kLoop) {
    return execute_loop(instruction, slots, observer);
  }
  torch::jit::Stack stack;
  stack.reserve(instruction.in.size());
  for (const int slot : instruction.in) stack.push_back(slots[slot]);
  const std::vector<c10::IValue> operands = observer ? stack : std::vector<c10::IValue>();
  instruction.run(stack);
  const std::size_t results = instruction.out.size();
  for (std::size_t j = 0; j < results; ++j) {
    slots[instruction.out[j]] = std::move(stack[stack.size() - results + j]);
  }
  if (observer) (*observer)(instruction, operands, slots);
}

Slots fork(const Instructions& program, const Slots& slots, int at) {
  const c10::InferenceMode guard;
  Slots copy = slots;
  Cloner cloner;
  for (const int slot : slots_of_own(program, at)) {
    c10::IValue& value = copy[static_cast<std::size_t>(slot)];
    value = cloner.clone(value);
  }
  return copy;
}

bool share_alike(const Instructions& program, const Slots& one, const Slots& other, int at) {
  const std::set<int> slots = slots_of_own(program, at);
  if (slots.empty()) return true;
  const std::vector<c10::IValue> mine = held_by(one, slots), others = held_by(other, slots);
  if (mine.size() != others.size()) return false;
  for (std::size_t i = 0; i < mine.size(); ++i) {
    if (mine[i].isTensor() != others[i].isTensor()) return false;
    for (std::size_t j = 0; j <= i; ++j) {
      if (!lie_alike(mine[i], mine[j], others[i], others[j])) return false;
    }
  }
  return true;
}

}  // namespace bitfall
