#include "program.h"

#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/passes/loop_unrolling.h>
#include <torch/csrc/jit/passes/remove_mutation.h>
#include <torch/script.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <unordered_map>
#include <unordered_set>

#include "error.h"
#include "sha256.h"
#include "torch_message.h"
#include "torchscript_file.h"

namespace bitfall {
namespace {

namespace jit = torch::jit;
using jit::Block;
using jit::Graph;
using jit::Node;
using jit::Value;

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

// Operations that read the shape or type of a tensor and never its values.
bool reads_shape_only(const Node* node) {
  static const std::unordered_set<std::string> kNames = {
      "aten::size",       "aten::dim",           "aten::len",          "aten::numel",
      "prim::dtype",      "prim::device",        "aten::stride",       "aten::is_floating_point",
      "aten::is_complex", "prim::is_cuda",       "aten::sym_size",     "aten::sym_numel",
      "prim::layout",     "prim::is_sparse",     "prim::is_quantized", "prim::requires_grad",
      "prim::shape",      "aten::is_contiguous", "prim::ndim"};
  return kNames.count(node->kind().toQualString()) > 0;
}

// The path of the module that a value holds, from the root: "" for self, "blocks.0.conv" behind
// GetAttr chains.
std::string object_path(const Value* value) {
  const Node* node = value->node();
  if (node->kind() != c10::prim::GetAttr) return "";
  const std::string owner = object_path(node->input());
  const std::string& attribute = node->s(c10::attr::name);
  return owner.empty() ? attribute : owner + "." + attribute;
}

void inline_calls(Block* block, const std::string& path);

// Replaces a call by the callee's nodes, each marked by its scope with the path of the module that
// runs it. (LibTorch's own inliner keeps only the last name of a path: "0" for blocks.0.)
void inline_call(Node* node, const std::string& path) {
  for (Block* inner : node->blocks()) inline_calls(inner, path);
  static const auto root = c10::make_intrusive<jit::Scope>();
  node->setScope(path.empty() ? root : root->push(c10::Symbol::scope(path)));
  const bool method = node->kind() == c10::prim::CallMethod;
  if (!method && node->kind() != c10::prim::CallFunction) return;
  jit::GraphFunction* callee = jit::tryToGraphFunction(node);
  if (callee == nullptr) return;
  const std::string callee_path = method ? object_path(node->input(0)) : path;
  if (!method) node->removeInput(0);
  Node* const before = node->prev();
  Node* const after = node->next();
  jit::inlineCallTo(node, callee, callee->graph().get());
  for (Node* inlined = before->next(); inlined != after;) {
    Node* const next = inlined->next();
    inline_call(inlined, callee_path);
    inlined = next;
  }
}

void inline_calls(Block* block, const std::string& path) {
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    inline_call(node, path);
  }
}

}  // namespace

// A step as it is run: the operation and the slots of its operands. Blocks of a conditional or a
// loop are programs of their own over the same table.
struct Instruction;
struct CompiledBlock {
  std::vector<Instruction> instructions;
  std::vector<int> inputs;  // slots of the block's own inputs (a loop's counter and carried values)
  std::vector<int> outputs;
};
struct Instruction {
  Node* node = nullptr;
  mutable jit::Operation run{nullptr};  // calling one is not const, though ours hold no state
  std::vector<int> in, out;
  std::vector<CompiledBlock> blocks;
};

struct Program::State {
  jit::Module original;
  std::shared_ptr<Graph> graph;
  std::unordered_map<const Value*, c10::IValue> object;  // what a GetAttr chain from self gives
  std::unordered_map<const Value*, std::string> name;    // and its state_dict name
  std::unordered_map<const Value*, int> slot;
  Slots fixed;  // constants and parameters; the rest empty
  std::vector<Instruction> instructions;
  std::vector<Step> steps;
  std::vector<Parameter> parameters;
  std::vector<Lifetime> lifetimes;
  std::vector<std::vector<int>> dies;  // dies[i]: slots that nothing after step i reads
  std::vector<std::pair<int, int>>
      writes;  // (step, slot): the step may write to that slot's memory
  int input = -1;
  int output = -1;

  void resolve(Block* block);
  at::Tensor original_tensor(const std::string& name, const at::Tensor& copy) const;
  void compile();
  int slot_of(const Value* value);
  CompiledBlock compile_block(Block* block);
  void compile_node(Node* node, std::vector<Instruction>& to);
  void describe_steps();
  void find_parameters();
  void find_lifetimes();
  void find_writes();
  void execute(const Instruction& instruction, Slots& slots) const;
  void execute_if(const Instruction& instruction, Slots& slots) const;
  void execute_loop(const Instruction& instruction, Slots& slots) const;
  bool depends_on_shapes_only(const Value* condition) const;
  void clean();
};

// The loaded module's own tensor of that name: freezing copies every tensor, and two names of one
// tensor twice.
at::Tensor Program::State::original_tensor(const std::string& name, const at::Tensor& copy) const {
  c10::IValue owner = original._ivalue();
  std::stringstream path(name);
  for (std::string part; std::getline(path, part, '.');) {
    if (!owner.isObject() || !owner.toObjectRef().type()->findAttributeSlot(part)) return copy;
    owner = owner.toObjectRef().getAttr(part);
  }
  const bool same = owner.isTensor() && owner.toTensor().defined() && copy.defined() &&
                    owner.toTensor().sizes() == copy.sizes() &&
                    owner.toTensor().scalar_type() == copy.scalar_type();
  return same ? owner.toTensor() : copy;
}

// Walks prim::GetAttr chains from self: modules stay objects, tensors become named parameters, the
// rest constants.
void Program::State::resolve(Block* block) {
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    for (Block* inner : node->blocks()) resolve(inner);
    if (node->kind() != c10::prim::GetAttr) continue;
    const auto owner = object.find(node->input());
    if (owner == object.end()) continue;
    const std::string attribute = node->s(c10::attr::name);
    c10::IValue value = owner->second.toObject()->getAttr(attribute);
    const std::string prefix = name[node->input()];
    name[node->output()] = prefix.empty() ? attribute : prefix + "." + attribute;
    if (value.isTensor()) value = original_tensor(name[node->output()], value.toTensor());
    object[node->output()] = value;
    if (value.isTensor() || value.isObject()) continue;
    jit::WithInsertPoint here(node);
    if (const auto constant = jit::tryInsertConstant(*graph, value)) {
      node->output()->replaceAllUsesWith(*constant);
    }
  }
}

void Program::State::clean() {
  jit::RemoveListMutation(graph);
  jit::RemoveTensorMutation(graph);
  jit::ConstantPropagation(graph);
  jit::UnrollConstantLoops(graph);
  jit::ConstantPropagation(graph);
  jit::EliminateDeadCode(graph);
}

int Program::State::slot_of(const Value* value) {
  const auto [it, fresh] = slot.try_emplace(value, static_cast<int>(fixed.size()));
  if (fresh) fixed.emplace_back();
  return it->second;
}

CompiledBlock Program::State::compile_block(Block* block) {
  CompiledBlock compiled;
  for (const Value* value : block->inputs()) compiled.inputs.push_back(slot_of(value));
  for (Node* node : block->nodes()) compile_node(node, compiled.instructions);
  for (const Value* value : block->outputs()) compiled.outputs.push_back(slot_of(value));
  return compiled;
}

void Program::State::compile_node(Node* node, std::vector<Instruction>& to) {
  if (node->kind() == c10::prim::Constant) {
    fixed[slot_of(node->output())] = *jit::toIValue(node->output());
    return;
  }
  if (node->kind() == c10::prim::GetAttr) {
    const auto known = object.find(node->output());
    if (known != object.end()) {
      fixed[slot_of(node->output())] = known->second;
      return;
    }
  }
  Instruction instruction;
  instruction.node = node;
  for (const Value* value : node->inputs()) instruction.in.push_back(slot_of(value));
  for (const Value* value : node->outputs()) instruction.out.push_back(slot_of(value));
  if (node->kind() == c10::prim::If || node->kind() == c10::prim::Loop) {
    for (Block* block : node->blocks()) instruction.blocks.push_back(compile_block(block));
  } else if (node->maybeOperator()) {
    instruction.run = node->getOperation();
  }
  to.push_back(std::move(instruction));
}

void Program::State::compile() {
  slot.clear();
  fixed.clear();
  instructions.clear();
  input = slot_of(graph->inputs()[1]);
  // Further inputs of forward have defaults; they keep them.
  for (Node* node : graph->nodes()) compile_node(node, instructions);
  output = slot_of(graph->outputs()[0]);
  describe_steps();
  find_parameters();
  find_lifetimes();
  find_writes();
}

void Program::State::describe_steps() {
  steps.clear();
  for (const Instruction& instruction : instructions) {
    Step step;
    const Node* node = instruction.node;
    step.path = node->scopeName();
    step.function = node->kind().toQualString();
    step.inputs = instruction.in;
    step.outputs = instruction.out;
    const bool one_tensor =
        node->outputs().size() == 1 && node->output()->type()->isSubtypeOf(*c10::TensorType::get());
    if (one_tensor) {
      step.output = instruction.out[0];
      step.operation = operation_kind(node->kind().toQualString());
    }
    if (const auto* schema = node->maybeSchema()) step.in_place = schema->is_mutable();
    steps.push_back(std::move(step));
  }
}

namespace {

// The slots that an instruction reads from outside itself, its blocks' included.
void collect_reads(const Instruction& instruction, std::set<int>& reads) {
  reads.insert(instruction.in.begin(), instruction.in.end());
  for (const CompiledBlock& block : instruction.blocks) {
    for (const Instruction& inner : block.instructions) collect_reads(inner, reads);
    reads.insert(block.outputs.begin(), block.outputs.end());
  }
}

}  // namespace

namespace {

// The kind of the first computing operation that reads one of the carriers, or a view of one; "" if
// none does.
std::string reading_operation(const std::vector<Instruction>& instructions,
                              std::set<int>& carriers) {
  for (const Instruction& instruction : instructions) {
    for (const CompiledBlock& block : instruction.blocks) {
      const std::string inner = reading_operation(block.instructions, carriers);
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

}  // namespace

void Program::State::find_parameters() {
  parameters.clear();
  std::map<std::string, Parameter> by_name;
  std::map<const void*, std::vector<int>> by_memory;
  std::set<std::string> learned;
  for (const auto& parameter : original.named_parameters()) learned.insert(parameter.name);
  for (const auto& [value, held] : object) {
    const auto known = slot.find(value);
    if (!held.isTensor() || known == slot.end() || !held.toTensor().defined()) continue;
    Parameter& parameter = by_name[name.at(value)];
    parameter.name = name.at(value);
    parameter.value = held.toTensor();
    parameter.learned = learned.count(parameter.name) > 0;
    by_memory[parameter.value.const_data_ptr()].push_back(known->second);
  }
  std::vector<std::set<int>> reads(instructions.size());
  for (std::size_t i = 0; i < instructions.size(); ++i) collect_reads(instructions[i], reads[i]);
  for (auto& [_, parameter] : by_name) {
    parameter.slots = by_memory[parameter.value.const_data_ptr()];
    std::set<int> carriers(parameter.slots.begin(), parameter.slots.end());
    for (std::size_t i = 0; i < instructions.size() && parameter.first_step < 0; ++i) {
      const bool hit = std::any_of(carriers.begin(), carriers.end(),
                                   [&](int carrier) { return reads[i].count(carrier) > 0; });
      if (hit) parameter.first_step = static_cast<int>(i);
    }
    parameter.operation = reading_operation(instructions, carriers);
    parameters.push_back(parameter);
  }
  std::sort(parameters.begin(), parameters.end(), [](const Parameter& a, const Parameter& b) {
    const auto key = [](const Parameter& p) {
      return std::make_pair(p.first_step < 0 ? INT32_MAX : p.first_step, p.name);
    };
    return key(a) < key(b);
  });
}

void Program::State::find_lifetimes() {
  lifetimes.assign(fixed.size(), {});
  const auto steps_count = static_cast<int>(instructions.size());
  for (int i = 0; i < steps_count; ++i) {
    std::set<int> touched;
    collect_reads(instructions[i], touched);
    for (const int s : instructions[i].out) lifetimes[s].made = i;
    touched.insert(instructions[i].out.begin(), instructions[i].out.end());
    for (const int s : touched) lifetimes[s].last = i;
  }
  lifetimes[output].last = steps_count;
  dies.assign(instructions.size(), {});
  for (std::size_t s = 0; s < lifetimes.size(); ++s) {
    const int last = lifetimes[s].last;
    if (last >= 0 && last < steps_count) dies[last].push_back(static_cast<int>(s));
  }
}

// Which slots' memory each step may write to, by the compiler's alias analysis.
void Program::State::find_writes() {
  writes.clear();
  std::vector<std::pair<int, const Value*>> written;
  const std::function<void(const Node*, int)> visit = [&](const Node* node, int step) {
    for (const Block* block : node->blocks()) {
      for (const Node* inner : block->nodes()) visit(inner, step);
    }
    const auto* schema = node->maybeSchema();
    if (!schema || !schema->is_mutable()) return;
    for (std::size_t a = 0; a < schema->arguments().size() && a < node->inputs().size(); ++a) {
      const auto* alias = schema->arguments()[a].alias_info();
      if (alias && alias->isWrite()) written.emplace_back(step, node->inputs()[a]);
    }
  };
  for (std::size_t i = 0; i < instructions.size(); ++i) {
    visit(instructions[i].node, static_cast<int>(i));
  }
  if (written.empty()) return;
  jit::AliasDb aliases(graph);
  for (const auto& [value, index] : slot) {
    for (const auto& [step, target] : written) {
      if (value == target ||
          aliases.mayContainAlias(const_cast<Value*>(value), const_cast<Value*>(target))) {
        writes.emplace_back(step, index);
      }
    }
  }
}

void Program::State::execute_if(const Instruction& instruction, Slots& slots) const {
  const bool condition = slots[instruction.in[0]].toBool();
  const CompiledBlock& block = instruction.blocks[condition ? 0 : 1];
  for (const Instruction& inner : block.instructions) execute(inner, slots);
  for (std::size_t j = 0; j < instruction.out.size(); ++j) {
    slots[instruction.out[j]] = slots[block.outputs[j]];
  }
}

void Program::State::execute_loop(const Instruction& instruction, Slots& slots) const {
  const std::int64_t limit = slots[instruction.in[0]].toInt();
  bool go_on = slots[instruction.in[1]].toBool();
  const CompiledBlock& block = instruction.blocks[0];
  std::vector<c10::IValue> carried;
  for (std::size_t j = 2; j < instruction.in.size(); ++j)
    carried.push_back(slots[instruction.in[j]]);
  for (std::int64_t i = 0; i < limit && go_on; ++i) {
    slots[block.inputs[0]] = i;
    for (std::size_t j = 0; j < carried.size(); ++j) slots[block.inputs[j + 1]] = carried[j];
    for (const Instruction& inner : block.instructions) execute(inner, slots);
    go_on = slots[block.outputs[0]].toBool();
    for (std::size_t j = 0; j < carried.size(); ++j) carried[j] = slots[block.outputs[j + 1]];
  }
  for (std::size_t j = 0; j < carried.size(); ++j) slots[instruction.out[j]] = carried[j];
}

void Program::State::execute(const Instruction& instruction, Slots& slots) const {
  Node* node = instruction.node;
  if (node->kind() == c10::prim::If) return execute_if(instruction, slots);
  if (node->kind() == c10::prim::Loop) return execute_loop(instruction, slots);
  jit::Stack stack;
  stack.reserve(instruction.in.size());
  for (const int s : instruction.in) stack.push_back(slots[s]);
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
    for (std::size_t i = 0; i + 1 < stack.size(); i += 2)
      dict.insert_or_assign(stack[i], stack[i + 1]);
    stack = {dict};
  } else if (!node->maybeOperator()) {
    throw Error(ExitCode::kInput, std::string("the model uses ") + node->kind().toQualString() +
                                      " in a way that cannot be run step by step; export it by "
                                      "torch.jit.trace instead");
  } else {
    instruction.run(stack);
  }
  const std::size_t results = instruction.out.size();
  for (std::size_t j = 0; j < results; ++j) {
    slots[instruction.out[j]] = std::move(stack[stack.size() - results + j]);
  }
}

// True if nothing on the way back from `condition` reads a tensor's values.
bool Program::State::depends_on_shapes_only(const Value* condition) const {
  std::vector<const Value*> open = {condition};
  std::unordered_set<const Value*> seen;
  while (!open.empty()) {
    const Value* value = open.back();
    open.pop_back();
    if (!seen.insert(value).second) continue;
    const Node* node = value->node();
    if (node->kind() == c10::prim::Constant || reads_shape_only(node)) continue;
    if (node->kind() == c10::prim::Param) return false;
    for (const Value* operand : node->inputs()) {
      const bool tensor = operand->type()->isSubtypeOf(*c10::TensorType::get());
      if (tensor) return false;
      open.push_back(operand);
    }
    for (const Block* block : node->blocks()) {
      for (const Value* result : block->outputs()) {
        if (result->type()->isSubtypeOf(*c10::TensorType::get())) return false;
        open.push_back(result);
      }
    }
    if (node->kind() == c10::prim::Loop) return false;
  }
  return true;
}

Program::Program(const std::filesystem::path& path, const std::string& device)
    : state_(std::make_unique<State>()) {
  if (!at::hasCUDA() && device.rfind("cuda", 0) == 0) {
    throw Error(ExitCode::kUsage, "device \"" + device +
                                      "\": this machine or this LibTorch has no CUDA; use \"cpu\"");
  }
  const c10::InferenceMode guard;
  state_->original = load_torchscript(path, device);
  if (!state_->original.find_method("forward")) {
    throw Error(ExitCode::kInput, path.string() + ": the module has no forward method");
  }
  state_->original.eval();
  try {
    jit::Module inlined = state_->original.clone();
    inline_calls(inlined.get_method("forward").graph()->block(), "");
    // Folds `training` and other flags but keeps parameters and their names; Conv-BN stays apart
    // (that would be torch::jit::freeze). Without it in-place operations survive in scripted
    // models.
    const jit::Module frozen =
        jit::freeze_module(inlined, {}, /*freezeInterfaces=*/true, /*preserveParameters=*/true);
    state_->graph = frozen.get_method("forward").graph()->copy();
    state_->object[state_->graph->inputs()[0]] = frozen._ivalue();
    state_->resolve(state_->graph->block());
    state_->clean();
  } catch (const std::exception& error) {
    throw Error(ExitCode::kInput,
                path.string() + ": cannot be read as a program of steps: " + torch_message(error));
  }
  if (state_->graph->inputs().size() < 2) {
    throw Error(ExitCode::kInput, path.string() + ": forward takes no input");
  }
  if (state_->graph->inputs().size() > 2) {
    throw Error(ExitCode::kInput, path.string() + ": forward takes " +
                                      std::to_string(state_->graph->inputs().size() - 1) +
                                      " inputs; a classifier of images takes one");
  }
  state_->compile();
}

Program::~Program() = default;

void Program::specialise(const at::Tensor& input) {
  const c10::InferenceMode guard;
  State& state = *state_;
  for (int round = 0; round < 32; ++round) {
    std::vector<std::pair<Node*, int>>
        conditionals;  // those whose condition is shape-only, and its slot
    for (const Instruction& instruction : state.instructions) {
      if (instruction.node->kind() == c10::prim::If &&
          state.depends_on_shapes_only(instruction.node->input(0))) {
        conditionals.emplace_back(instruction.node, instruction.in[0]);
      }
    }
    if (conditionals.empty()) return;
    Slots slots = start(input);
    for (const Instruction& instruction : state.instructions) {
      if (instruction.node->kind() == c10::prim::If) {
        for (const auto& [node, slot] : conditionals) {
          if (node != instruction.node) continue;
          jit::WithInsertPoint here(node);
          node->replaceInput(0, state.graph->insertConstant(slots[slot].toBool()));
        }
      }
      state.execute(instruction, slots);
    }
    jit::ConstantPropagation(state.graph);
    state.clean();
    state.compile();
  }
}

const std::vector<Step>& Program::steps() const { return state_->steps; }
const std::vector<Parameter>& Program::parameters() const { return state_->parameters; }
int Program::input_slot() const { return state_->input; }
const std::vector<Lifetime>& Program::lifetimes() const { return state_->lifetimes; }

c10::IValue Program::call(int step, std::vector<c10::IValue> operands) const {
  jit::Stack stack = std::move(operands);
  state_->instructions[static_cast<std::size_t>(step)].run(stack);
  return std::move(stack.back());
}

Slots Program::start(const at::Tensor& input) const {
  Slots slots = state_->fixed;
  slots[state_->input] = input;
  return fork(slots, 0);
}

bool Program::writes_in_place() const { return !state_->writes.empty(); }

bool Program::branches_on_values() const {
  const auto shapes_only = [&](const Value* value) {
    return state_->depends_on_shapes_only(value);
  };
  for (const Instruction& instruction : state_->instructions) {
    const Node* node = instruction.node;
    if (node->kind() == c10::prim::If && !shapes_only(node->input(0))) return true;
    if (node->kind() == c10::prim::Loop &&
        !(shapes_only(node->input(0)) && shapes_only(node->input(1)) &&
          shapes_only(node->blocks()[0]->outputs()[0]))) {
      return true;
    }
  }
  return false;
}

void Program::run(Slots& slots, int from, int to, bool keep) const {
  const c10::InferenceMode guard;
  for (int i = from; i < to; ++i) {
    state_->execute(state_->instructions[i], slots);
    if (keep) continue;
    for (const int slot : state_->dies[i]) slots[slot] = c10::IValue();
  }
}

Slots Program::fork(const Slots& slots, int at) const {
  Slots copy = slots;
  const c10::InferenceMode guard;
  std::map<const void*, at::Tensor> memory;  // one clone for each storage, so that views stay views
  std::set<int> seen;
  for (const auto& [step, slot] : state_->writes) {
    if (step < at || !seen.insert(slot).second) continue;
    c10::IValue& value = copy[slot];
    if (value.isTensor() && value.toTensor().defined()) {
      const at::Tensor tensor = value.toTensor();
      at::Tensor& whole = memory[tensor.storage().unsafeGetStorageImpl()];
      if (!whole.defined()) {
        const auto bytes = static_cast<std::int64_t>(tensor.storage().nbytes());
        const auto items = bytes / static_cast<std::int64_t>(tensor.element_size());
        whole = tensor.as_strided({items}, {1}, 0).clone();
      }
      value = whole.as_strided(tensor.sizes(), tensor.strides(), tensor.storage_offset());
    } else if (value.isList()) {
      value = value.deepcopy();
    }
  }
  return copy;
}

at::Tensor Program::output(const Slots& slots) const {
  c10::IValue value = slots[state_->output];
  if (value.isTuple() && !value.toTupleRef().elements().empty())
    value = value.toTupleRef().elements()[0];
  if (!value.isTensor()) {
    throw Error(ExitCode::kInput, "the model returns a " + value.tagKind() +
                                      "; a classifier returns logits [batch, classes]");
  }
  const c10::InferenceMode guard;
  return value.toTensor().to(at::kCPU, at::kFloat).contiguous();
}

at::Tensor Program::forward(const at::Tensor& input) const {
  const c10::InferenceMode guard;
  jit::Module module = state_->original;
  c10::IValue value = module.forward({input});
  if (value.isTuple() && !value.toTupleRef().elements().empty())
    value = value.toTupleRef().elements()[0];
  return value.toTensor().to(at::kCPU, at::kFloat).contiguous();
}

std::string Program::checksum() const {
  const c10::InferenceMode guard;
  std::string bits;
  for (const auto& value : state_->fixed) {
    if (!value.isTensor() || !value.toTensor().defined()) continue;
    const at::Tensor tensor = value.toTensor().cpu().contiguous();
    bits += sha256_text(
        {static_cast<const char*>(tensor.data_ptr()), static_cast<std::size_t>(tensor.nbytes())});
  }
  return sha256_text(bits);
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.is_same(b)) return true;
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  if (a.scalar_type() != at::kFloat) return a.equal(b);
  return a.contiguous().view(at::kInt).equal(b.contiguous().view(at::kInt));
}

bool same_value(const c10::IValue& a, const c10::IValue& b) {
  if (a.is(b)) return true;
  if (a.isTensor() && b.isTensor()) {
    if (!a.toTensor().defined() || !b.toTensor().defined()) return false;
    return same_bits(a.toTensor(), b.toTensor());
  }
  if (a.isInt() && b.isInt()) return a.toInt() == b.toInt();
  if (a.isDouble() && b.isDouble()) return a.toDouble() == b.toDouble();
  if (a.isBool() && b.isBool()) return a.toBool() == b.toBool();
  if (a.isIntList() && b.isIntList()) return a.toIntVector() == b.toIntVector();
  if (a.isString() && b.isString()) return a.toStringRef() == b.toStringRef();
  if (a.isDevice() && b.isDevice()) return a.toDevice() == b.toDevice();
  if (a.isTensorList() && b.isTensorList()) {
    const auto left = a.toTensorVector(), right = b.toTensorVector();
    return std::equal(left.begin(), left.end(), right.begin(), right.end(), same_bits);
  }
  return false;
}

}  // namespace bitfall
