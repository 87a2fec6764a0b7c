#include "known_lists.h"

#include <torch/csrc/jit/ir/constants.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

namespace bitfall {
namespace {

namespace jit = torch::jit;
using jit::Node;
using jit::Value;

bool is_called(const Node* node, const char* name) {
  return node->kind() == jit::Symbol::fromQualString(name);
}

// Adds to the list that is its first operand: one element, or those of another list.
bool appends(const Node* node) { return is_called(node, "aten::append"); }
bool extends(const Node* node) {
  return (is_called(node, "aten::extend") || is_called(node, "aten::add_")) &&
         node->input(0)->type()->kind() == c10::TypeKind::ListType;
}

class KnownLists {
 public:
  explicit KnownLists(jit::Graph& graph) : graph_(graph) {}

  void make_for_each_reader(bool growing) {
    find(growing);
    while (drop_unknown()) {  // those that take elements of an unknown list are unknown as well
    }
    const std::vector<Node*> nodes(graph_.nodes().begin(), graph_.nodes().end());
    for (Node* node : nodes) pass(node);
    for (auto node = gone_.rbegin(); node != gone_.rend(); ++node) (*node)->destroy();
  }

 private:
  // The list that a value is, by any of its names; null for all others.
  Value* list_of(const Value* value) const {
    const auto known = lists_.find(value);
    return known == lists_.end() ? nullptr : known->second;
  }

  void find(bool growing) {
    std::set<const Value*> grown;
    for (Node* node : graph_.nodes()) {
      if (node->kind() == c10::prim::ListConstruct) lists_[node->output()] = node->output();
      if (!appends(node) && !extends(node)) continue;
      Value* const list = list_of(node->input(0));
      if (list == nullptr) continue;
      grown.insert(list);
      for (Value* again : node->outputs()) lists_[again] = list;
    }
    std::erase_if(lists_, [&](const auto& one) {
      const Value* list = one.second;
      if (growing) return grown.count(list) == 0;
      return grown.count(list) > 0 || *list->type() != *c10::ListType::ofTensors();
    });
  }

  bool drop_unknown() {
    std::set<const Value*> unknown;
    for (const auto& [value, list] : lists_) {
      for (const jit::Use& use : value->uses()) {
        if (!is_plain(use)) unknown.insert(list);
      }
    }
    std::erase_if(lists_, [&](const auto& one) { return unknown.count(one.second) > 0; });
    return !unknown.empty();
  }

  // It reads the list or lets it grow, and does not keep or hand on the list itself.
  bool is_plain(const jit::Use& use) const {
    const Node* user = use.user;
    if (user->owningBlock() != graph_.block() || user == graph_.return_node()) return false;
    if (use.offset == 0 && appends(user)) return true;
    if (use.offset == 0 && extends(user)) {
      const Value* more = user->input(1);
      const bool for_this =
          more->node()->kind() == c10::prim::ListConstruct && more->uses().size() == 1;
      return for_this || list_of(more) != nullptr;
    }
    if (user->kind() == c10::prim::ListUnpack) return true;
    const auto* schema = user->maybeSchema();
    if (schema == nullptr || schema->is_vararg() || use.offset >= schema->arguments().size()) {
      return false;
    }
    const c10::AliasInfo* alias = schema->arguments()[use.offset].alias_info();
    return alias == nullptr || is_called(user, "aten::__getitem__");
  }

  std::vector<Value*> elements_of(Value* value) const {
    const Value* list = list_of(value);
    if (list != nullptr) return elements_.at(list);
    const auto inputs = value->node()->inputs();
    return {inputs.begin(), inputs.end()};
  }

  void pass(Node* node) {
    if (node->kind() == c10::prim::ListConstruct && list_of(node->output()) != nullptr) {
      elements_[node->output()] = {node->inputs().begin(), node->inputs().end()};
    }
    const bool grows = appends(node) || extends(node);
    if (grows && list_of(node->input(0)) != nullptr) return grow(node);
    if (is_called(node, "aten::__getitem__") && list_of(node->input(0)) != nullptr && take(node)) {
      return;
    }
    for (std::size_t i = 0; i < node->inputs().size(); ++i) {
      if (list_of(node->input(i)) != nullptr) {
        node->replaceInput(i, made_for(node, node->input(i)));
      }
    }
  }

  void grow(Node* node) {
    const std::vector<Value*> more =
        appends(node) ? std::vector<Value*>{node->input(1)} : elements_of(node->input(1));
    std::vector<Value*>& elements = elements_.at(list_of(node->input(0)));
    elements.insert(elements.end(), more.begin(), more.end());
    gone_.push_back(node);
  }

  // An element at a place that is known is what was put there.
  bool take(Node* node) {
    const std::vector<Value*>& elements = elements_.at(list_of(node->input(0)));
    const auto place = jit::toIValue(node->input(1));
    if (!place || !place->isInt()) return false;
    const auto count = static_cast<std::int64_t>(elements.size());
    const std::int64_t i = place->toInt() < 0 ? place->toInt() + count : place->toInt();
    if (i < 0 || i >= count) return false;
    node->output()->replaceAllUsesWith(elements[static_cast<std::size_t>(i)]);
    gone_.push_back(node);
    return true;
  }

  // The list as it is ahead of its reader.
  Value* made_for(Node* reader, Value* value) {
    const jit::WithInsertPoint here(reader);
    const auto element = value->type()->expectRef<c10::ListType>().getElementType();
    Node* list = graph_.insertNode(graph_.createList(element, elements_of(value)));
    list->setScope(reader->scope());
    return list->output();
  }

  jit::Graph& graph_;
  std::map<const Value*, Value*> lists_;                  // by each of its names
  std::map<const Value*, std::vector<Value*>> elements_;  // of each list, where the walk has come
  std::vector<Node*> gone_;
};

}  // namespace

void make_lists_at_once(jit::Graph& graph) {
  KnownLists(graph).make_for_each_reader(/*growing=*/true);
}

void make_lists_for_each_reader(jit::Graph& graph) {
  KnownLists(graph).make_for_each_reader(/*growing=*/false);
}

}  // namespace bitfall
