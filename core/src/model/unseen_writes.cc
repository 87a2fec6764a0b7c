#include "unseen_writes.h"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/loop_unrolling.h>

#include <algorithm>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "instruction.h"
#include "memory_flow.h"

namespace bitfall {
namespace {

namespace jit = torch::jit;
using jit::Block;
using jit::Graph;
using jit::Node;
using jit::Value;

const c10::Symbol& mark() {
  static const c10::Symbol symbol = c10::Symbol::attr("bitfall_node");
  return symbol;
}

// An operator that makes tensors, and more than another name of one in a list.
bool makes_tensors(const Node* node) {
  if (node->maybeSchema() == nullptr || node->kind() == c10::aten::__getitem__) return false;
  const auto outputs = node->outputs();
  return std::any_of(outputs.begin(), outputs.end(), [](const Value* made) {
    return result_type(made->type()) != ResultType::kNumber;
  });
}

bool holds_memory(const Value* value) { return result_type(value->type()) != ResultType::kNumber; }

// Whether it may hand an operand back, and LibTorch does not know: operators without a word in
// their schema, and loops, of which it forgets that they may have no turn.
bool hands_back(const Node* node) {
  return node->kind() == c10::prim::Loop ||
         (node->maybeSchema() != nullptr && may_hand_back(node->schema().name()));
}

// The values of a graph in classes: two that may lie in one memory, or hold it, are in one class.
class MemoryClasses {
 public:
  explicit MemoryClasses(Graph& graph) : self_(graph.inputs()[0]) {
    visit(graph.block());
    for (const Value* value : written_) written_classes_.insert(class_of(value));
    std::erase_if(handed_back_, [&](Node* node) { return !touches_written(node); });
  }

  /// A node may read, or make, what is written to.
  bool touches_written(const Node* node) {
    const auto is_written = [&](const Value* value) {
      return holds_memory(value) && written_classes_.count(class_of(value)) > 0;
    };
    const auto inputs = node->inputs(), outputs = node->outputs();
    return std::any_of(inputs.begin(), inputs.end(), is_written) ||
           std::any_of(outputs.begin(), outputs.end(), is_written);
  }

  /// Nodes that may hand back what is written to.
  const std::vector<Node*>& handed_back() const { return handed_back_; }

 private:
  const Value* class_of(const Value* value) {
    const Value* top = value;
    while (true) {
      const auto above = above_.find(top);
      if (above == above_.end()) break;
      top = above->second;
    }
    while (value != top) {
      const Value*& above = above_[value];
      value = above;
      above = top;
    }
    return top;
  }

  void join(const Value* a, const Value* b) {
    if (!holds_memory(a) || !holds_memory(b)) return;
    const Value* const from = class_of(a);
    const Value* const to = class_of(b);
    if (from != to) above_[from] = to;
  }

  void join_all(const Node* node) {
    std::vector<const Value*> values(node->inputs().begin(), node->inputs().end());
    values.insert(values.end(), node->outputs().begin(), node->outputs().end());
    std::erase_if(values, [](const Value* value) { return !holds_memory(value); });
    for (const Value* value : values) join(value, values[0]);
  }

  void visit(Block* block) {
    for (Node* node : block->nodes()) {
      for (Block* inner : run_of(node)) visit(inner);
      pass(node);
      if (hands_back(node)) handed_back_.push_back(node);
    }
  }

  // The node's blocks that can run: of a conditional, as in F.relu(x, inplace), it may be known.
  static std::vector<Block*> run_of(Node* node) {
    const auto blocks = node->blocks();
    if (node->kind() == c10::prim::If) {
      const auto condition = jit::toIValue(node->input(0));
      if (condition && condition->isBool()) return {blocks[condition->toBool() ? 0 : 1]};
    }
    return {blocks.begin(), blocks.end()};
  }

  void pass(Node* node) {
    switch (node->kind()) {
      case c10::prim::Constant:
        return;
      case c10::prim::If:
        for (const Block* branch : run_of(node)) {
          for (std::size_t i = 0; i < node->outputs().size(); ++i) {
            join(node->output(i), branch->outputs()[i]);
          }
        }
        return;
      case c10::prim::Loop: {  // inputs: most turns, condition, carried; the body's: turn, carried
        const Block* body = node->blocks()[0];
        for (std::size_t i = 0; i < node->outputs().size(); ++i) {
          join(node->input(i + 2), node->output(i));
          join(body->inputs()[i + 1], node->output(i));
          join(body->outputs()[i + 1], node->output(i));
        }
        return;
      }
      case c10::prim::GetAttr: {
        const std::string path = path_of(node);
        if (path.empty()) return join_all(node);  // of an object that forward makes
        join(node->output(), attributes_.try_emplace(path, node->output()).first->second);
        return;
      }
      default:
        return node->maybeSchema() != nullptr ? pass_operator(node) : join_all(node);
    }
  }

  // From the module itself: ".blocks.0.bias".
  std::string path_of(const Node* node) const {
    std::string path;
    for (; node->kind() == c10::prim::GetAttr; node = node->input()->node()) {
      path.insert(0, "." + node->s(c10::attr::name));
      if (node->input() == self_) return path;
    }
    return "";
  }

  void pass_operator(const Node* node) {
    const c10::FunctionSchema& schema = node->schema();
    const auto& arguments = schema.arguments();
    const Value* named = nullptr;  // an operand that the schema says is written to or given back
    bool all = false;
    for (std::size_t i = 0; i < arguments.size() && i < node->inputs().size(); ++i) {
      const c10::AliasInfo* alias = arguments[i].alias_info();
      if (alias == nullptr) continue;
      all |= alias->isWildcardBefore() || alias->isWildcardAfter();
      if (alias->isWrite()) written_.push_back(node->input(i));
      if (named != nullptr) join(node->input(i), named);
      named = node->input(i);
    }
    for (std::size_t i = 0; i < node->outputs().size(); ++i) {
      const Value* const made = node->output(i);
      const SharedWith with = shared_with(schema, i, result_type(made->type()));
      all |= with == SharedWith::kAll;
      if (with == SharedWith::kNamed && named != nullptr) join(made, named);
    }
    if (all) join_all(node);
  }

  const Value* const self_;
  std::unordered_map<std::string, const Value*> attributes_;  // by path: the first reading
  std::unordered_map<const Value*, const Value*> above_;
  std::vector<const Value*> written_;
  std::unordered_set<const Value*> written_classes_;
  std::vector<Node*> handed_back_;
};

// Marks all that reads or makes what is written to, and all that makes tensors. True if a loop
// holds one of them.
bool mark_nodes(Block* block, MemoryClasses& classes, bool within_loop, std::int64_t& next) {
  bool looped = false;
  for (Node* node : block->nodes()) {
    const bool loop = within_loop || node->kind() == c10::prim::Loop;
    for (Block* inner : node->blocks()) looped |= mark_nodes(inner, classes, loop, next);
    if (!node->blocks().empty()) continue;
    if (!makes_tensors(node) && !classes.touches_written(node)) continue;
    node->i_(mark(), next++);
    looped |= within_loop;
  }
  return looped;
}

bool mark_nodes(Graph& graph, MemoryClasses& classes) {
  std::int64_t next = 0;
  return mark_nodes(graph.block(), classes, false, next);
}

void take_off(Block* block) {
  for (Node* node : block->nodes()) {
    if (node->hasAttribute(mark())) node->removeAttribute(mark());
    for (Block* inner : node->blocks()) take_off(inner);
  }
}

}  // namespace

void show_calls_and_writes(std::shared_ptr<Graph>& graph) {
  MemoryClasses classes(*graph);
  for (Node* node : classes.handed_back()) {
    const jit::WithInsertPoint here(node->owningBlock());
    graph->insertNode(graph->create(c10::prim::Print, node->outputs(), 0));
  }
  if (!mark_nodes(*graph, classes)) return;
  jit::ConstantPropagation(graph);
  if (!jit::UnrollConstantLoops(graph)) return;
  MemoryClasses unrolled(*graph);
  mark_nodes(*graph, unrolled);
}

bool writes_to_handed_back(Graph& graph) { return !MemoryClasses(graph).handed_back().empty(); }

void take_marks_off(Graph& graph) { take_off(graph.block()); }

}  // namespace bitfall
