#include "compile_graph.h"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/passes/loop_unrolling.h>
#include <torch/csrc/jit/passes/remove_mutation.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <unordered_set>
#include <utility>

namespace bitfall {
namespace {

namespace jit = torch::jit;
using jit::Block;
using jit::Graph;
using jit::Node;
using jit::Value;

// The path of the module that a value holds, from the root: "" for self, "blocks.0.conv" after
// a chain of GetAttr.
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

// Finds what chains of GetAttr from self give: modules stay objects, tensors become attributes with
// names, the rest constants.
class AttributeFinder {
 public:
  AttributeFinder(const jit::Module& module, ModuleGraph& found) : module_(module), found_(found) {
    for (const auto& parameter : module.named_parameters()) learned_.insert(parameter.name);
  }

  void visit(Block* block) {
    for (auto it = block->nodes().begin(); it != block->nodes().end();) {
      Node* node = *it++;
      for (Block* inner : node->blocks()) visit(inner);
      if (node->kind() == c10::prim::GetAttr) resolve(node);
    }
  }

 private:
  void resolve(Node* node) {
    const auto owner = found_.attributes.find(node->input());
    if (owner == found_.attributes.end()) return;
    const std::string& own_name = node->s(c10::attr::name);
    ModuleAttribute attribute;
    attribute.name = owner->second.name.empty() ? own_name : owner->second.name + "." + own_name;
    attribute.value = owner->second.value.toObject()->getAttr(own_name);
    attribute.learned = learned_.count(attribute.name) > 0;
    if (attribute.value.isTensor()) {
      attribute.value = original_tensor(attribute.name, attribute.value.toTensor());
    }
    const c10::IValue value = attribute.value;
    found_.attributes[node->output()] = std::move(attribute);
    if (value.isTensor() || value.isObject()) return;
    jit::WithInsertPoint here(node);
    if (const auto constant = jit::tryInsertConstant(*found_.graph, value)) {
      node->output()->replaceAllUsesWith(*constant);
    }
  }

  // The module's own tensor of that name: freezing copies every tensor, and two names of one tensor
  // twice.
  at::Tensor original_tensor(const std::string& name, const at::Tensor& copy) const {
    c10::IValue owner = module_._ivalue();
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

  const jit::Module& module_;
  ModuleGraph& found_;
  std::set<std::string> learned_;
};

// Forward's inputs after the image get the defaults that they have, and are inputs no longer.
void give_defaults(Graph& graph, const c10::FunctionSchema& forward) {
  const auto& arguments = forward.arguments();  // self, the image, further ones
  for (std::size_t i = std::min(graph.inputs().size(), arguments.size()); i-- > 2;) {
    if (!arguments[i].default_value()) continue;
    jit::WithInsertPoint here(*graph.block()->nodes().begin());
    Value* value = graph.insertConstant(*arguments[i].default_value());
    graph.inputs()[i]->replaceAllUsesWith(value);
    graph.eraseInput(i);
  }
}

void clean(std::shared_ptr<Graph>& graph) {
  jit::RemoveListMutation(graph);
  jit::RemoveTensorMutation(graph);
  jit::ConstantPropagation(graph);
  jit::UnrollConstantLoops(graph);
  jit::ConstantPropagation(graph);
  jit::EliminateDeadCode(graph);
}

// Gives every value of a graph a slot, and every node an instruction.
class Compiler {
 public:
  explicit Compiler(const ModuleGraph& source) : source_(source) {}

  CompiledGraph run() {
    compiled_.graph = source_.graph;
    const Graph& graph = *source_.graph;
    compiled_.input = slot_of(graph.inputs()[1]);
    for (Node* node : source_.graph->nodes()) compile_node(node, compiled_.instructions);
    compiled_.output = slot_of(graph.outputs()[0]);
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
    for (Node* node : block->nodes()) compile_node(node, branch.instructions);
    for (const Value* value : block->outputs()) branch.outputs.push_back(slot_of(value));
    return branch;
  }

  void compile_node(Node* node, std::vector<Instruction>& to) {
    if (node->kind() == c10::prim::Constant) {
      fix(node->output(), *jit::toIValue(node->output()));
      return;
    }
    if (node->kind() == c10::prim::GetAttr) {
      const auto known = source_.attributes.find(node->output());
      if (known != source_.attributes.end()) return fix(node->output(), known->second.value);
    }
    Instruction instruction;
    instruction.node = node;
    for (const Value* value : node->inputs()) instruction.in.push_back(slot_of(value));
    for (const Value* value : node->outputs()) instruction.out.push_back(slot_of(value));
    if (node->kind() == c10::prim::If || node->kind() == c10::prim::Loop) {
      for (Block* block : node->blocks()) instruction.branches.push_back(compile_branch(block));
    } else if (node->maybeOperator()) {
      const jit::Operator& operation = node->getOperator();
      instruction.run = node->getOperation();
      instruction.counts_operands = operation.hasOperation() && operation.schema().is_vararg();
    }
    to.push_back(std::move(instruction));
  }

  void fix(const Value* value, c10::IValue constant) {
    const int slot = slot_of(value);
    compiled_.fixed[static_cast<std::size_t>(slot)] = std::move(constant);
  }

  const ModuleGraph& source_;
  CompiledGraph compiled_;
};

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

// True if nothing on the way back from `condition` reads a tensor's values.
bool depends_on_shapes_only(const Value* condition) {
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

}  // namespace

ModuleGraph module_graph(const jit::Module& module) {
  jit::Module inlined = module.clone();
  inline_calls(inlined.get_method("forward").graph()->block(), "");
  // Folds `training` and other flags but keeps parameters and their names; Conv-BN stays apart (that
  // would be torch::jit::freeze). Without it in-place operations survive in scripted models.
  const jit::Module frozen =
      jit::freeze_module(inlined, {}, /*freezeInterfaces=*/true, /*preserveParameters=*/true);
  ModuleGraph source;
  source.graph = frozen.get_method("forward").graph()->copy();
  source.attributes[source.graph->inputs()[0]].value = frozen._ivalue();
  give_defaults(*source.graph, module.get_method("forward").function().getSchema());
  AttributeFinder(module, source).visit(source.graph->block());
  clean(source.graph);
  return source;
}

CompiledGraph compile(const ModuleGraph& source) { return Compiler(source).run(); }

bool fold_conditions(ModuleGraph& source, const CompiledGraph& compiled, Slots slots) {
  std::unordered_set<const Node*> folded;
  for (const Instruction& instruction : compiled.instructions) {
    const Node* node = instruction.node;
    if (node->kind() == c10::prim::If && depends_on_shapes_only(node->input(0))) {
      folded.insert(node);
    }
  }
  if (folded.empty()) return false;
  for (const Instruction& instruction : compiled.instructions) {
    if (folded.count(instruction.node) > 0) {
      const bool condition = slots[static_cast<std::size_t>(instruction.in[0])].toBool();
      jit::WithInsertPoint here(instruction.node);
      instruction.node->replaceInput(0, source.graph->insertConstant(condition));
    }
    execute(instruction, slots);
  }
  jit::ConstantPropagation(source.graph);
  clean(source.graph);
  return true;
}

bool branches_on_values(const CompiledGraph& compiled) {
  for (const Instruction& instruction : compiled.instructions) {
    const Node* node = instruction.node;
    if (node->kind() == c10::prim::If && !depends_on_shapes_only(node->input(0))) return true;
    if (node->kind() == c10::prim::Loop &&
        !(depends_on_shapes_only(node->input(0)) && depends_on_shapes_only(node->input(1)) &&
          depends_on_shapes_only(node->blocks()[0]->outputs()[0]))) {
      return true;
    }
  }
  return false;
}

}  // namespace bitfall
