#include "instruction.h"

#include <ATen/core/Dict.h>
#include <ATen/core/List.h>

#include <utility>

#include "error.h"

namespace bitfall {
namespace {

namespace jit = torch::jit;

void execute_if(const Instruction& instruction, Slots& slots) {
  const bool condition = slots[instruction.in[0]].toBool();
  const CompiledBranch& branch = instruction.branches[condition ? 0 : 1];
  for (const Instruction& inner : branch.instructions) execute(inner, slots);
  for (std::size_t j = 0; j < instruction.out.size(); ++j) {
    slots[instruction.out[j]] = slots[branch.outputs[j]];
  }
}

void execute_loop(const Instruction& instruction, Slots& slots) {
  const std::int64_t limit = slots[instruction.in[0]].toInt();
  bool go_on = slots[instruction.in[1]].toBool();
  const CompiledBranch& body = instruction.branches[0];
  std::vector<c10::IValue> carried;
  for (std::size_t j = 2; j < instruction.in.size(); ++j) {
    carried.push_back(slots[instruction.in[j]]);
  }
  for (std::int64_t i = 0; i < limit && go_on; ++i) {
    slots[body.inputs[0]] = i;
    for (std::size_t j = 0; j < carried.size(); ++j) slots[body.inputs[j + 1]] = carried[j];
    for (const Instruction& inner : body.instructions) execute(inner, slots);
    go_on = slots[body.outputs[0]].toBool();
    for (std::size_t j = 0; j < carried.size(); ++j) carried[j] = slots[body.outputs[j + 1]];
  }
  for (std::size_t j = 0; j < carried.size(); ++j) slots[instruction.out[j]] = carried[j];
}

// As run_operator(), also of what is not an operator.
void execute_operation(const Instruction& instruction, jit::Stack& stack) {
  const jit::Node* node = instruction.node;
  if (node->kind() == c10::prim::ListConstruct) {  // torch::jit::listConstruct is not exported
    c10::impl::GenericList list(
        node->output()->type()->expectRef<c10::ListType>().getElementType());
    for (const auto& value : stack) list.push_back(value);
    stack = {list};
  } else if (node->kind() == c10::prim::TupleConstruct) {
    stack = {c10::ivalue::Tuple::create(stack)};
  } else if (node->kind() == c10::prim::ListUnpack) {
    const auto list = stack[0].toListRef().vec();
    stack.assign(list.begin(), list.end());
  } else if (node->kind() == c10::prim::TupleUnpack) {
    const auto tuple = stack[0].toTuple();
    stack.assign(tuple->elements().begin(), tuple->elements().end());
  } else if (node->kind() == c10::prim::DictConstruct) {
    const auto& type = node->output()->type()->expectRef<c10::DictType>();
    c10::impl::GenericDict dict(type.getKeyType(), type.getValueType());
    for (std::size_t i = 0; i + 1 < stack.size(); i += 2) {
      dict.insert_or_assign(stack[i], stack[i + 1]);
    }
    stack = {dict};
  } else if (!node->maybeOperator()) {
    throw Error(ExitCode::kInput, std::string("the model uses ") + node->kind().toQualString() +
                                      " in a way that cannot be run step by step; export it by "
                                      "torch.jit.trace instead");
  } else {
    run_operator(instruction, stack);
  }
}

}  // namespace

void run_operator(const Instruction& instruction, jit::Stack& stack) {
  if (instruction.counts_operands) stack.emplace_back(static_cast<std::int64_t>(stack.size()));
  instruction.run(stack);
}

void execute(const Instruction& instruction, Slots& slots) {
  if (instruction.node->kind() == c10::prim::If) return execute_if(instruction, slots);
  if (instruction.node->kind() == c10::prim::Loop) return execute_loop(instruction, slots);
  jit::Stack stack;
  stack.reserve(instruction.in.size());
  for (const int slot : instruction.in) stack.push_back(slots[slot]);
  execute_operation(instruction, stack);
  const std::size_t results = instruction.out.size();
  for (std::size_t j = 0; j < results; ++j) {
    slots[instruction.out[j]] = std::move(stack[stack.size() - results + j]);
  }
}

}  // namespace bitfall
