#include "module_graph.h"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/autocast.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/passes/loop_unrolling.h>
#include <torch/csrc/jit/passes/remove_dropout.h>
#include <torch/csrc/jit/passes/remove_mutation.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "known_lists.h"
#include "unseen_writes.h"

namespace bitfall {
namespace {

namespace jit = torch::jit;
using jit::Block;
using jit::Graph;
using jit::Node;
using jit::Value;

// What a module holds under a path; nothing where there is no such attribute.
std::optional<c10::IValue> value_at(const jit::Module& module, const std::string& name) {
  c10::IValue value = module._ivalue();
  std::stringstream path(name);
  for (std::string part; std::getline(path, part, '.');) {
    if (!value.isObject() || !value.toObjectRef().type()->findAttributeSlot(part)) return {};
    value = value.toObjectRef().getAttr(part);
  }
  return value;
}

// The path of the module that a value holds, from the root: "" for self, "blocks.0.conv" after
// a chain of GetAttr.
std::string object_path(const Value* value) {
  const Node* node = value->node();
  if (node->kind() != c10::prim::GetAttr) return "";
  const std::string owner = object_path(node->input());
  const std::string& attribute = node->s(c10::attr::name);
  return owner.empty() ? attribute : owner + "." + attribute;
}

std::string class_name(const Value* value) {
  const auto type = value->type()->cast<c10::ClassType>();
  return type && type->name() ? type->name()->qualifiedName() : "";
}

// `with` blocks that change no number: gradients are off anyway, and nothing is profiled.
bool has_no_effect(const std::string& context) {
  for (const char* name : {"no_grad", "enable_grad", "inference_mode", "set_grad_enabled",
                           "record_function", "profile"}) {
    if (context.ends_with(std::string(".") + name)) return true;
  }
  return false;
}

bool is_autocast(const std::string& context) { return context.ends_with(".autocast"); }

// Forward as one graph: what it calls, forks and enters is put in its place, each node marked by
// its scope with the path of the module that runs it. (LibTorch's own inliner keeps only the last
// name of a path: "0" for blocks.0.)
class Inliner {
 public:
  void run(Block* block, const std::string& path) {
    for (auto it = block->nodes().begin(); it != block->nodes().end();) {
      Node* node = *it++;
      inline_node(node, path);
    }
  }

 private:
  void inline_node(Node* node, const std::string& path) {
    for (Block* inner : node->blocks()) run(inner, path);
    static const auto root = c10::make_intrusive<jit::Scope>();
    node->setScope(path.empty() ? root : root->push(c10::Symbol::scope(path)));
    switch (node->kind()) {
      case c10::prim::CallMethod:
        return inline_call(node, object_path(node->input(0)));
      case c10::prim::CallFunction:
        return inline_call(node, path);
      case c10::prim::fork:
        return inline_fork(node, path);
      case c10::prim::Enter:
      case c10::prim::Exit:
        return inline_context(node, path);
      default:
        return;
    }
  }

  void inline_call(Node* node, const std::string& path) {
    jit::GraphFunction* callee = jit::tryToGraphFunction(node);
    if (callee == nullptr) return;
    if (node->kind() == c10::prim::CallFunction) node->removeInput(0);
    Node* const before = node->prev();
    Node* const after = node->next();
    jit::inlineCallTo(node, callee, callee->graph().get());
    inline_between(before, after, path);
  }

  void inline_between(Node* before, const Node* after, const std::string& path) {
    for (Node* inlined = before->next(); inlined != after;) {
      Node* const next = inlined->next();
      inline_node(inlined, path);
      inlined = next;
    }
  }

  // One after the other gives what side by side gives. Futures then are what they will hold: see
  // erase_futures().
  void inline_fork(Node* node, const std::string& path) {
    Node* const before = node->prev();
    Node* const after = node->next();
    const jit::WithInsertPoint here(node);
    const auto results =
        jit::insertGraph(*node->owningGraph(), *node->g(c10::attr::Subgraph), node->inputs());
    node->output()->replaceAllUsesWith(results.at(0));
    node->destroy();
    inline_between(before, after, path);
  }

  void inline_context(Node* node, const std::string& path) {
    const std::string context = class_name(node->input());
    if (is_autocast(context)) return;  // the Autocast pass finds it
    if (has_no_effect(context) && !node->hasUses()) return node->destroy();
    Graph& graph = *node->owningGraph();
    const jit::WithInsertPoint here(node);
    const bool enters = node->kind() == c10::prim::Enter;
    Node* call = graph.create(c10::prim::CallMethod, 1);
    call->s_(c10::attr::name, enters ? "__enter__" : "__exit__");
    call->addInput(node->input());
    for (int i = 0; !enters && i < 3; ++i) call->addInput(graph.insertConstant(c10::IValue()));
    graph.insertNode(call);
    call->output()->setType(node->output()->type());
    node->output()->replaceAllUsesWith(call->output());
    node->destroy();
    inline_node(call, path);
  }
};

c10::TypePtr without_futures(const c10::TypePtr& type) {
  if (const auto future = type->cast<c10::FutureType>()) {
    return without_futures(future->getElementType());
  }
  if (type->containedTypes().empty() || type->cast<c10::ClassType>()) return type;
  std::vector<c10::TypePtr> inner;
  bool changed = false;
  for (const c10::TypePtr& one : type->containedTypes()) {
    inner.push_back(without_futures(one));
    changed |= inner.back() != one;
  }
  return changed ? type->withContained(std::move(inner)) : type;
}

// To be called when forks are inlined: futures are what they hold, and waiting is nothing. Printing
// and warning are nothing, too.
void erase_futures_and_words(Block* block) {
  for (Value* value : block->inputs()) value->setType(without_futures(value->type()));
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    for (Block* inner : node->blocks()) erase_futures_and_words(inner);
    if (node->kind() == c10::prim::Print || node->kind() == c10::aten::warn) {
      node->destroy();
      continue;
    }
    if (node->kind() == c10::aten::wait) {
      node->output()->replaceAllUsesWith(node->input());
      node->destroy();
      continue;
    }
    for (Value* value : node->outputs()) value->setType(without_futures(value->type()));
  }
}

// A value that constants alone decide. (Constant propagation would take the attributes of autocast
// objects for dead.)
std::optional<c10::IValue> constant_behind(Value* value) {
  if (auto known = jit::toIValue(value)) return known;
  Node* node = value->node();
  if (node->kind() == c10::prim::If) {
    const auto condition = constant_behind(node->input(0));
    if (!condition) return std::nullopt;
    return constant_behind(node->blocks()[condition->toBool() ? 0 : 1]->outputs()[value->offset()]);
  }
  if (node->kind() == c10::prim::Param) return std::nullopt;
  jit::Stack stack;
  for (Value* operand : node->inputs()) {
    const auto known = constant_behind(operand);
    if (!known) return std::nullopt;
    stack.push_back(*known);
  }
  if (node->kind() == c10::prim::unchecked_cast) return stack.at(0);
  if (!node->maybeOperator() || node->hasSideEffects() || node->outputs().size() != 1) {
    return std::nullopt;
  }
  node->getOperation()(stack);
  return stack.at(0);
}

// What autocast objects are made with, as constants: the Autocast pass takes nothing else.
void fold_autocast_arguments(Block* block) {
  for (Node* node : block->nodes()) {
    for (Block* inner : node->blocks()) fold_autocast_arguments(inner);
    if (node->kind() != c10::prim::SetAttr || !is_autocast(class_name(node->input(0)))) continue;
    const auto known = constant_behind(node->input(1));
    if (!known) continue;
    const jit::WithInsertPoint here(node);
    node->replaceInput(1, node->owningGraph()->insertConstant(*known));
  }
}

// The pass keeps the marks of the blocks, and freezing a module runs it once more.
void leave_autocast(Block* block) {
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    for (Block* inner : node->blocks()) leave_autocast(inner);
    const bool marks = node->kind() == c10::prim::Enter || node->kind() == c10::prim::Exit;
    if (!marks || !is_autocast(class_name(node->input()))) continue;
    if (node->kind() == c10::prim::Enter) node->output()->replaceAllUsesWith(node->input());
    if (!node->hasUses()) node->destroy();
  }
}

bool enters_autocast(Block* block) {
  for (Node* node : block->nodes()) {
    if (node->kind() == c10::prim::Enter && is_autocast(class_name(node->input()))) return true;
    for (Block* inner : node->blocks()) {
      if (enters_autocast(inner)) return true;
    }
  }
  return false;
}

// `with torch.autocast(...)` becomes the casts that it stands for. False if there is none.
bool make_casts_explicit(std::shared_ptr<Graph>& graph) {
  if (!enters_autocast(graph->block())) return false;
  fold_autocast_arguments(graph->block());
  jit::Autocast(graph);
  leave_autocast(graph->block());
  return true;
}

// The attribute of an object that holds this very tensor; empty if none does.
std::string name_of(const c10::ivalue::Object& object, const at::Tensor& tensor) {
  for (std::size_t i = 0; i < object.type()->numAttributes(); ++i) {
    const c10::IValue& own = object.getSlot(i);
    if (!own.isTensor() || !own.toTensor().defined() || !tensor.defined()) continue;
    if (own.toTensor().is_same(tensor) ||
        (own.toTensor().const_data_ptr() == tensor.const_data_ptr() &&
         own.toTensor().sizes() == tensor.sizes())) {
      return object.type()->getAttributeName(i);
    }
  }
  return "";
}

// Lists of a module's own tensors, as torch.nn.LSTM keeps its weights, are made of them by their
// names.
void open_lists(Block* block, const jit::Module& module) {
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    for (Block* inner : node->blocks()) open_lists(inner, module);
    if (node->kind() != c10::prim::GetAttr) continue;
    const auto object = value_at(module, object_path(node->input()));
    if (!object || !object->isObject()) continue;
    const auto& owner = object->toObjectRef();
    if (!owner.type()->findAttributeSlot(node->s(c10::attr::name))) continue;
    const c10::IValue value = owner.getAttr(node->s(c10::attr::name));
    if (!value.isTensorList() || value.toTensorVector().empty()) continue;
    std::vector<std::string> names;
    for (const at::Tensor& tensor : value.toTensorVector()) names.push_back(name_of(owner, tensor));
    if (std::count(names.begin(), names.end(), "") > 0) continue;
    Graph& graph = *node->owningGraph();
    const jit::WithInsertPoint here(node);
    std::vector<Value*> elements;
    for (const std::string& name : names) {
      elements.push_back(graph.insertGetAttr(node->input(), name));
    }
    Node* list = graph.insertNode(graph.createList(c10::TensorType::get(), elements));
    list->setScope(node->scope());
    node->output()->replaceAllUsesWith(list->output());
    node->destroy();
  }
}

// The names of all attributes that are set.
void collect_set(const Block* block, std::set<std::string>& names) {
  for (const Node* node : block->nodes()) {
    for (const Block* inner : node->blocks()) collect_set(inner, names);
    if (node->kind() == c10::prim::SetAttr) names.insert(node->s(c10::attr::name));
  }
}

void fold_flags(Block* block, const jit::Module& module, const std::set<std::string>& set) {
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    for (Block* inner : node->blocks()) fold_flags(inner, module, set);
    if (node->kind() != c10::prim::GetAttr || set.count(node->s(c10::attr::name)) > 0) continue;
    const auto owner = value_at(module, object_path(node->input()));
    if (!owner || !owner->isObject() || *owner->type() != *node->input()->type()) continue;
    const auto flag = value_at(module, object_path(node->output()));
    if (!flag || !(flag->isBool() || flag->isInt())) continue;
    const jit::WithInsertPoint here(node);
    node->output()->replaceAllUsesWith(node->owningGraph()->insertConstant(*flag));
    node->destroy();
  }
}

// Flags and numbers that forward does not set, such as `training`, `inplace` and how many turns a
// loop takes, are known from the beginning.
void fold_flags(Graph& graph, const jit::Module& module) {
  std::set<std::string> set;
  collect_set(graph.block(), set);
  fold_flags(graph.block(), module, set);
}

// Attributes that forward sets become values, as if they were local variables:
//
//   self.last = y                      (nothing)
//   if ...: self.last = z              %last = prim::If(...) -> (z), (y)
//   return self.last + 1               return %last + 1
class AttributePromoter {
 public:
  AttributePromoter(Graph& graph, const jit::Module& module) : graph_(graph), module_(module) {}

  // True if forward sets attributes of the module, and not only of objects that it makes.
  bool run() {
    collect(graph_.block());
    if (!types_.empty()) {
      Current none;
      walk(graph_.block(), none);
    }
    return std::any_of(types_.begin(), types_.end(),
                       [&](const auto& one) { return made_.count(one.first.first) == 0; });
  }

 private:
  using Key = std::pair<const void*, std::string>;  // an object and the name of its attribute
  using Current = std::map<Key, Value*>;

  // The object that a value is, or null where that is not known.
  const void* object_of(const Value* value) const {
    if (value->node()->kind() == c10::prim::CreateObject) return value;
    std::vector<std::string> names;
    for (; value->node()->kind() == c10::prim::GetAttr; value = value->node()->input()) {
      names.push_back(value->node()->s(c10::attr::name));
    }
    if (value != graph_.inputs()[0]) return nullptr;
    c10::IValue object = module_._ivalue();
    for (auto name = names.rbegin(); name != names.rend(); ++name) {
      if (!object.isObject()) return nullptr;
      object = object.toObjectRef().getAttr(*name);
    }
    return object.isObject() ? &object.toObjectRef() : nullptr;
  }

  std::optional<Key> key_of(const Node* node) const {
    const void* object = object_of(node->input(0));
    if (object == nullptr) return std::nullopt;
    return Key{object, node->s(c10::attr::name)};
  }

  void collect(Block* block) {
    for (Node* node : block->nodes()) {
      for (Block* inner : node->blocks()) collect(inner);
      if (node->kind() != c10::prim::SetAttr) continue;
      const auto key = key_of(node);
      if (!key) continue;
      const auto type = node->input(0)->type()->expect<c10::ClassType>();
      types_[*key] = type->getAttribute(key->second);
      if (node->input(0)->node()->kind() == c10::prim::CreateObject) made_.insert(key->first);
      owners_.try_emplace(key->first, node->input(0));
    }
  }

  std::set<Key> set_within(Block* block) const {
    std::set<Key> keys;
    for (Node* node : block->nodes()) {
      for (Block* inner : node->blocks()) keys.merge(set_within(inner));
      if (node->kind() != c10::prim::SetAttr) continue;
      if (const auto key = key_of(node)) keys.insert(*key);
    }
    return keys;
  }

  // What an attribute holds before forward has set it.
  Value* initial(const Key& key) {
    const auto known = initial_.find(key);
    if (known != initial_.end()) return known->second;
    const jit::WithInsertPoint here(*graph_.block()->nodes().begin());
    if (made_.count(key.first) > 0) {
      return initial_[key] = graph_.insertNode(graph_.createUninitialized(types_[key]))->output();
    }
    std::vector<std::string> names;
    for (const Value* owner = owners_.at(key.first); owner->node()->kind() == c10::prim::GetAttr;
         owner = owner->node()->input()) {
      names.push_back(owner->node()->s(c10::attr::name));
    }
    Value* object = graph_.inputs()[0];
    for (auto name = names.rbegin(); name != names.rend(); ++name) {
      object = graph_.insertGetAttr(object, *name);
    }
    return initial_[key] = graph_.insertGetAttr(object, key.second);
  }

  Value* value_of(const Key& key, const Current& current) {
    const auto known = current.find(key);
    return known == current.end() ? initial(key) : known->second;
  }

  void walk(Block* block, Current& current) {
    for (auto it = block->nodes().begin(); it != block->nodes().end();) {
      Node* node = *it++;
      if (node->kind() == c10::prim::If) {
        walk_if(node, current);
      } else if (node->kind() == c10::prim::Loop) {
        walk_loop(node, current);
      } else if (node->kind() == c10::prim::SetAttr || node->kind() == c10::prim::GetAttr) {
        const auto key = key_of(node);
        if (!key || types_.count(*key) == 0) continue;
        if (node->kind() == c10::prim::SetAttr) {
          current[*key] = node->input(1);
        } else {
          node->output()->replaceAllUsesWith(value_of(*key, current));
        }
        node->destroy();
      }
    }
  }

  void walk_if(Node* node, Current& current) {
    std::set<Key> keys;
    for (Block* block : node->blocks()) keys.merge(set_within(block));
    for (Block* block : node->blocks()) {
      Current within = current;
      walk(block, within);
      for (const Key& key : keys) block->registerOutput(value_of(key, within));
    }
    for (const Key& key : keys) current[key] = node->addOutput()->setType(types_[key]);
  }

  void walk_loop(Node* node, Current& current) {
    Block* body = node->blocks()[0];
    const std::set<Key> keys = set_within(body);
    Current within = current;
    for (const Key& key : keys) {
      node->addInput(value_of(key, current));
      within[key] = body->addInput()->setType(types_[key]);
    }
    walk(body, within);
    for (const Key& key : keys) {
      body->registerOutput(value_of(key, within));
      current[key] = node->addOutput()->setType(types_[key]);
    }
  }

  Graph& graph_;
  const jit::Module& module_;
  std::map<Key, c10::TypePtr> types_;     // of all attributes that are set
  std::set<const void*> made_;            // objects that forward makes
  std::map<const void*, Value*> owners_;  // a value of each object
  std::map<Key, Value*> initial_;
};

// Finds what chains of GetAttr from self give: modules stay objects, tensors become attributes with
// names, the rest constants.
class AttributeFinder {
 public:
  AttributeFinder(const jit::Module& module, ModuleGraph& found) : module_(module), found_(found) {
    for (const auto& parameter : module.named_parameters()) learned_.insert(parameter.name);
  }

  void run() {
    visit(found_.graph->block());
    for (const auto& [_, read] : containers_) {
      if (!is_written(read)) make_constant(read, found_.attributes.at(read).value);
    }
  }

 private:
  void visit(Block* block) {
    for (auto it = block->nodes().begin(); it != block->nodes().end();) {
      Node* node = *it++;
      for (Block* inner : node->blocks()) visit(inner);
      if (node->kind() == c10::prim::GetAttr) resolve(node);
    }
  }

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
    hoist(node);
    const c10::IValue value = attribute.value;
    const std::string name = attribute.name;
    found_.attributes[node->output()] = std::move(attribute);
    if (value.isTensor() || value.isObject()) return;
    if (value.isList() || value.isGenericDict()) {  // one, however often it is read
      const auto [first, fresh] = containers_.try_emplace(name, node->output());
      if (!fresh) node->output()->replaceAllUsesWith(first->second);
      return;
    }
    make_constant(node->output(), value);
  }

  // To the beginning, out of loops and branches: copies of a body shall not have attributes of
  // their own.
  void hoist(Node* node) {
    Node* const first = *found_.graph->block()->nodes().begin();
    if (last_ != nullptr) {
      node->moveAfter(last_);
    } else if (node != first) {
      node->moveBefore(first);
    }
    last_ = node;
  }

  void make_constant(Value* read, const c10::IValue& value) {
    const jit::WithInsertPoint here(read->node());
    if (const auto constant = jit::tryInsertConstant(*found_.graph, value)) {
      read->replaceAllUsesWith(*constant);
    }
  }

  static bool is_written(const Value* container) {
    return std::any_of(container->uses().begin(), container->uses().end(), [](const jit::Use& use) {
      const auto* schema = use.user->maybeSchema();
      return schema != nullptr && schema->is_mutable();
    });
  }

  // The module's own tensor of that name: freezing copies every tensor, and two names of one tensor
  // twice.
  at::Tensor original_tensor(const std::string& name, const at::Tensor& copy) const {
    const auto own = value_at(module_, name);
    const bool same = own && own->isTensor() && own->toTensor().defined() && copy.defined() &&
                      own->toTensor().sizes() == copy.sizes() &&
                      own->toTensor().scalar_type() == copy.scalar_type();
    return same ? own->toTensor() : copy;
  }

  const jit::Module& module_;
  ModuleGraph& found_;
  std::set<std::string> learned_;
  std::map<std::string, Value*> containers_;  // by name: the value that stands for all reads
  Node* last_ = nullptr;                      // of those at the beginning
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

}  // namespace

void clean(std::shared_ptr<jit::Graph>& graph) {
  jit::RemoveListMutation(graph);
  make_lists_for_each_reader(*graph);
  if (!writes_to_handed_back(*graph)) jit::RemoveTensorMutation(graph);
  jit::ConstantPropagation(graph);
  jit::UnrollConstantLoops(graph);
  jit::ConstantPropagation(graph);
  make_lists_at_once(*graph);
  make_lists_for_each_reader(*graph);
  jit::EliminateDeadCode(graph);
}

ModuleGraph module_graph(const jit::Module& module) {
  jit::Module inlined = module.clone();
  std::shared_ptr<Graph> forward = inlined.get_method("forward").graph();
  Inliner().run(forward->block(), "");
  erase_futures_and_words(forward->block());
  ModuleGraph source;
  source.casts = make_casts_explicit(forward);
  open_lists(forward->block(), module);
  fold_flags(*forward, inlined);
  // What hands its operand back is not known to LibTorch's analysis of what shares memory, and so
  // to nothing below.
  jit::removeDropout(forward);
  source.sets_attributes = AttributePromoter(*forward, inlined).run();
  show_calls_and_writes(forward);
  // Folds `training` and other flags but keeps parameters and their names; Conv-BN stays apart
  // (that would be torch::jit::freeze). Without it in-place operations survive in scripted models.
  const jit::Module frozen =
      jit::freeze_module(inlined, {}, /*freezeInterfaces=*/true, /*preserveParameters=*/true);
  source.graph = frozen.get_method("forward").graph()->copy();
  take_marks_off(*source.graph);
  source.attributes[source.graph->inputs()[0]].value = frozen._ivalue();
  give_defaults(*source.graph, module.get_method("forward").function().getSchema());
  AttributeFinder(module, source).run();
  clean(source.graph);
  return source;
}

}  // namespace bitfall
