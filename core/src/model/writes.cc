#include "writes.h"

#include <torch/csrc/jit/ir/alias_analysis.h>

#include <utility>

#include "compile_graph.h"

namespace bitfall {
namespace {

namespace jit = torch::jit;

// The operands that a node, or one inside its blocks, writes to.
void collect_written(const jit::Node* node, std::vector<const jit::Value*>& written) {
  for (const jit::Block* block : node->blocks()) {
    for (const jit::Node* inner : block->nodes()) collect_written(inner, written);
  }
  const auto* schema = node->maybeSchema();
  if (!schema || !schema->is_mutable()) return;
  for (std::size_t a = 0; a < schema->arguments().size() && a < node->inputs().size(); ++a) {
    const auto* alias = schema->arguments()[a].alias_info();
    if (alias && alias->isWrite()) written.push_back(node->inputs()[a]);
  }
}

// A list or a dictionary; a tensor's memory is another's.
bool is_container(const c10::TypePtr& type) {
  return type->kind() == c10::TypeKind::ListType || type->kind() == c10::TypeKind::DictType;
}

// Whether a write to the target may change the value. A list of tensors that grows changes none of
// the tensors, nor another list of them.
bool may_change(jit::AliasDb& aliases, const jit::Value* value, const jit::Value* target) {
  auto* const left = const_cast<jit::Value*>(value);
  auto* const right = const_cast<jit::Value*>(target);
  if (value == target) return true;
  if (!is_container(target->type())) return aliases.mayContainAlias(left, right);
  if (value->type()->kind() == c10::TypeKind::TensorType) return false;
  const auto inner = value->type()->containedTypes();
  const bool flat = is_container(value->type()) && !inner.empty() &&
                    inner.back()->kind() == c10::TypeKind::TensorType;
  return flat ? aliases.mayAlias(left, right) : aliases.mayContainAlias(left, right);
}

}  // namespace

std::vector<Write> find_writes(const CompiledGraph& compiled) {
  std::vector<std::pair<int, const jit::Value*>> targets;  // by step
  for (std::size_t i = 0; i < compiled.nodes.size(); ++i) {
    std::vector<const jit::Value*> written;
    collect_written(compiled.nodes[i], written);
    for (const jit::Value* value : written) targets.emplace_back(static_cast<int>(i), value);
  }
  std::vector<Write> writes;
  if (targets.empty()) return writes;
  jit::AliasDb aliases(compiled.graph);
  for (const auto& [value, slot] : compiled.slots) {
    for (const auto& [step, target] : targets) {
      if (may_change(aliases, value, target)) writes.push_back({step, slot});
    }
  }
  return writes;
}

}  // namespace bitfall
