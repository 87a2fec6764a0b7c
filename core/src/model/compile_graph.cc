#include "compile_graph.h"

#include <ATen/core/Dict.h>
#include <ATen/core/List.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "copy_on_write.h"
#include "value_flow.h"

namespace bitfall {
namespace {

namespace jit = torch::jit;
using jit::Block;
using jit::Graph;
using jit::Node;
using jit::Value;

void construct_list(jit::Stack& stack, const c10::TypePtr& element) {
  c10::impl::GenericList list(element);
  for (const auto& value : stack) list.push_back(value);
  stack = {list};
}

// The interpreter itself, for what it does without an operator: type checks, objects, exceptions.
jit::Operation interpreted(Node* node) {
  auto graph = std::make_shared<Graph>();
  std::unordered_map<Value*, Value*> inputs;
  for (Value* operand : node->inputs()) {
    if (inputs.count(operand) == 0) inputs[operand] = graph->addInput()->setType(operand->type());
  }
  // One input per operand, also where one value is given twice.
  Node* copy = graph->appendNode(graph->createClone(node, [&](Value* v) { return inputs.at(v); }));
  std::vector<std::size_t> first;  // of each distinct operand
  std::unordered_set<Value*> seen;
  for (std::size_t i = 0; i < node->inputs().size(); ++i) {
    if (seen.insert(node->inputs()[i]).second) first.push_back(i);
  }
  for (Value* result : copy->outputs()) graph->registerOutput(result);
  const jit::Code code(graph, "");
  return [code, first](jit::Stack& stack) {
    jit::Stack operands;
    for (const std::size_t i : first) operands.push_back(stack[i]);
    jit::InterpreterState(code).run(operands);
    stack = std::move(operands);
  };
}

// What the node does, its operands on the stack and nothing else.
jit::Operation operation_of(Node* node) {
  const auto kind = node->kind();
  if (kind == c10::prim::ListConstruct) {
    const auto element = node->output()->type()->expectRef<c10::ListType>().getElementType();
    return [element](jit::Stack& stack) { construct_list(stack, element); };
  }
  if (kind == c10::prim::TupleConstruct &&
      !node->output()->type()->cast<c10::TupleType>()->name()) {
    return [](jit::Stack& stack) { stack = {c10::ivalue::Tuple::create(stack)}; };
  }
  if (kind == c10::prim::ListUnpack) {
    return [](jit::Stack& stack) {
      const auto list = stack[0].toListRef().vec();
      stack.assign(list.begin(), list.end());
    };
  }
  if (kind == c10::prim::TupleUnpack) {
    return [](jit::Stack& stack) {
      const auto tuple = stack[0].toTuple();
      stack.assign(tuple->elements().begin(), tuple->elements().end());
    };
  }
  const jit::Operator* known = node->maybeOperator();
  const bool raises = kind == c10::prim::RaiseException;  // whose operator forgets the words
  if (known == nullptr || !known->hasOperation() || raises) return interpreted(node);
  jit::Operation operation{nullptr};
  try {
    operation = node->getOperation();
  } catch (const std::exception&) {  // "is implemented directly in the interpreter"
    return interpreted(node);
  }
  if (!known->schema().is_vararg()) return operation;
  return [operation](jit::Stack& stack) mutable {  // takes any number, and is told how many
    stack.emplace_back(static_cast<std::int64_t>(stack.size()));
    operation(stack);
  };
}

// Gives every value of a graph a slot, and every node an instruction.
class Compiler {
 public:
  explicit Compiler(const ModuleGraph& source) : source_(source) {}

  CompiledGraph run() {
    compiled_.graph = source_.graph;
    const Graph& graph = *source_.graph;
    compiled_.input = slot_of(graph.inputs()[1]);
    for (Node* node : source_.graph->nodes()) {
      if (compile_node(node, compiled_.steps)) compiled_.nodes.push_back(node);
    }
    compiled_.output = slot_of(graph.outputs()[0]);
    for (const auto& [value, attribute] : source_.attributes) {
      const auto known = compiled_.slots.find(value);
      if (known == compiled_.slots.end() || !attribute.value.isTensor()) continue;
      if (!attribute.value.toTensor().defined()) continue;
      compiled_.state.push_back(
          {known->second, attribute.name, attribute.value.toTensor(), attribute.learned});
    }
    settle_writes(compiled_, [this](const NeedlessWrite& write) {
      set_operator(compiled_.steps[write.step], write.instead);
    });
    return std::move(compiled_);
  }

 private:
  int slot_of(const Value* value) {
    const auto [it, fresh] =
        compiled_.slots.try_emplace(value, static_cast<int>(compiled_.fixed.size()));
    if (fresh) compiled_.fixed.emplace_back();
    return it->second;
  }

  CompiledBranch compile_branch(Block* block) {
    CompiledBranch branch;
    for (const Value* value : block->inputs()) branch.inputs.push_back(slot_of(value));
    for (Node* node : block->nodes()) {
      compile_node(node, branch.instructions);
      branch.raises |= node->kind() == c10::prim::RaiseException;
    }
    for (const Value* value : block->outputs()) branch.outputs.push_back(slot_of(value));
    return branch;
  }

  // False for what is known beforehand, and for what only shows LibTorch a write.
  bool compile_node(Node* node, std::vector<Instruction>& to) {
    if (node->kind() == c10::prim::Print) return false;
    if (node->kind() == c10::prim::Constant) {
      return fix(node->output(), *jit::toIValue(node->output()));
    }
    if (node->kind() == c10::prim::GetAttr) {
      const auto known = source_.attributes.find(node->output());
      if (known != source_.attributes.end()) return fix(node->output(), known->second.value);
    }
    Instruction instruction;
    instruction.path = node->scopeName();
    instruction.function = node->kind().toQualString();
    for (const Value* value : node->inputs()) instruction.in.push_back(slot_of(value));
    for (const Value* value : node->outputs()) {
      instruction.out.push_back(slot_of(value));
      instruction.types.push_back(result_type(value->type()));
    }
    if (node->kind() == c10::prim::If || node->kind() == c10::prim::Loop) {
      instruction.kind =
          node->kind() == c10::prim::If ? Instruction::Kind::kIf : Instruction::Kind::kLoop;
      for (Block* block : node->blocks()) instruction.branches.push_back(compile_branch(block));
    } else {
      instruction.run = operation_of(node);
      instruction.schema = node->maybeSchema();
      if (instruction.schema != nullptr) instruction.tags = tags_of(*instruction.schema);
    }
    to.push_back(std::move(instruction));
    return true;
  }

  bool fix(const Value* value, c10::IValue constant) {
    const int slot = slot_of(value);
    compiled_.fixed[static_cast<std::size_t>(slot)] = std::move(constant);
    return false;
  }

  const ModuleGraph& source_;
  CompiledGraph compiled_;
};

// How often the body of a loop runs, which it does on the way.
std::int64_t count_turns(const Instruction& loop, Slots& slots) {
  const CompiledBranch& body = loop.branches[0];
  std::int64_t turns = 0;
  Instruction one = loop;
  const c10::IValue limit = slots[loop.in[0]];
  Slots inner = slots;
  std::vector<c10::IValue> carried;
  for (std::size_t j = 2; j < loop.in.size(); ++j) carried.push_back(slots[loop.in[j]]);
  bool go_on = slots[loop.in[1]].toBool();
  for (; turns < limit.toInt() && go_on; ++turns) {
    inner[body.inputs[0]] = turns;
    for (std::size_t j = 0; j < carried.size(); ++j) inner[body.inputs[j + 1]] = carried[j];
    for (const Instruction& step : body.instructions) execute(step, inner);
    go_on = inner[body.outputs[0]].toBool();
    for (std::size_t j = 0; j < carried.size(); ++j) carried[j] = inner[body.outputs[j + 1]];
  }
  for (std::size_t j = 0; j < carried.size(); ++j) slots[loop.out[j]] = carried[j];
  return turns;
}

std::int64_t count_nodes(const Block* block) {
  std::int64_t count = 0;
  for (const Node* node : block->nodes()) {
    ++count;
    for (const Block* inner : node->blocks()) count += count_nodes(inner);
  }
  return count;
}

// Puts the body of a loop so many times in the loop's place.
void unroll(Node* loop, std::int64_t turns) {
  Graph& graph = *loop->owningGraph();
  const jit::WithInsertPoint here(loop);
  std::vector<Value*> carried(loop->inputs().begin() + 2, loop->inputs().end());
  Block* const body = loop->blocks()[0];
  for (std::int64_t turn = 0; turn < turns; ++turn) {
    std::unordered_map<Value*, Value*> known = {{body->inputs()[0], graph.insertConstant(turn)}};
    for (std::size_t j = 0; j < carried.size(); ++j) known[body->inputs()[j + 1]] = carried[j];
    const auto mapped = [&](Value* value) {
      const auto it = known.find(value);
      return it == known.end() ? value : it->second;
    };
    for (Node* node : body->nodes()) {
      Node* copy = graph.insertNode(graph.createClone(node, mapped));
      for (std::size_t k = 0; k < copy->outputs().size(); ++k) {
        known[node->outputs()[k]] = copy->outputs()[k];
      }
    }
    for (std::size_t j = 0; j < carried.size(); ++j) carried[j] = mapped(body->outputs()[j + 1]);
  }
  for (std::size_t j = 0; j < carried.size(); ++j) {
    loop->outputs()[j]->replaceAllUsesWith(carried[j]);
  }
  loop->destroy();
}

constexpr std::int64_t kMostNodes = 20'000;  // of an unrolled loop

// True if no value of an image decides whether, and how often, the blocks run.
bool decided_by_shapes(const Instruction& instruction, ValueFlow& flow) {
  if (flow.of(instruction.in[0]).content) return false;
  if (instruction.kind == Instruction::Kind::kIf) return true;
  flow.branches_on_values(instruction);  // marks what lies within
  return !flow.of(instruction.in[1]).content &&
         !flow.of(instruction.branches[0].outputs[0]).content;
}

}  // namespace

CompiledGraph compile(const ModuleGraph& source) { return Compiler(source).run(); }

bool fold_control(ModuleGraph& source, const CompiledGraph& compiled, Slots slots) {
  ValueFlow flow(compiled);
  bool folded = false;
  std::vector<std::pair<Node*, std::int64_t>> loops;
  for (std::size_t i = 0; i < compiled.steps.size(); ++i) {
    const Instruction& instruction = compiled.steps[i];
    Node* const node = compiled.nodes[i];
    const bool decided =
        instruction.kind != Instruction::Kind::kCall && decided_by_shapes(instruction, flow);
    if (decided && instruction.kind == Instruction::Kind::kIf) {
      const bool condition = slots[static_cast<std::size_t>(instruction.in[0])].toBool();
      const jit::WithInsertPoint here(node);
      node->replaceInput(0, source.graph->insertConstant(condition));
      folded = true;
    }
    if (decided && instruction.kind == Instruction::Kind::kLoop) {
      const std::int64_t turns = count_turns(instruction, slots);
      if (turns * count_nodes(node->blocks()[0]) <= kMostNodes) loops.emplace_back(node, turns);
    } else {
      execute(instruction, slots);
    }
    flow.follow(static_cast<int>(i), slots);
  }
  for (const auto& [loop, turns] : loops) unroll(loop, turns);
  if (!folded && loops.empty()) return false;
  jit::ConstantPropagation(source.graph);
  clean(source.graph);
  return true;
}

}  // namespace bitfall
