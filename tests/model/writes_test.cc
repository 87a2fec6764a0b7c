// What steps that work in place write to.
#include "writes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "compile_graph.h"
#include "scripted_module.h"

namespace bitfall::writes_test {
namespace {

using testing::UnorderedElementsAre;

// Kinds of the nodes that made the values that the step of this kind writes to.
std::multiset<std::string> written_by(const ModuleGraph& source, const std::string& kind) {
  const CompiledGraph compiled = compile(source);
  std::multiset<std::string> makers;
  for (const Write& write : find_writes(compiled)) {
    const auto* node = compiled.nodes[static_cast<std::size_t>(write.step)];
    if (node->kind().toQualString() != kind) continue;
    for (const auto& [value, slot] : compiled.slots) {
      if (slot == write.slot) makers.insert(value->node()->kind().toQualString());
    }
  }
  return makers;
}

TEST(Writes, ReachEveryViewOfTheMemoryAndNothingElse) {
  const ModuleGraph source = module_graph(scripted_module(R"(
def forward(self, x):
  apart = torch.tanh(x)
  whole = torch.relu(x)
  part = whole.view([-1])
  part.mul_(2.0)
  return whole + apart
)"));
  EXPECT_THAT(written_by(source, "aten::mul_"),
              UnorderedElementsAre("aten::relu", "aten::view", "aten::mul_"));
}

TEST(Writes, InABranchAreThoseOfTheConditional) {
  const ModuleGraph source = module_graph(scripted_module(R"(
def forward(self, x):
  whole = torch.relu(x)
  part = whole.view([-1])
  if bool(x.sum() > 0):
    part.mul_(2.0)
  return whole
)"));
  const auto makers = written_by(source, "prim::If");
  EXPECT_EQ(makers.count("aten::relu"), 1U);
  EXPECT_EQ(makers.count("aten::view"), 1U);
}

TEST(Writes, AreNoneWhereNothingWorksInPlace) {
  const ModuleGraph source = module_graph(scripted_module(R"(
def forward(self, x):
  return torch.relu(x).view([-1]) * 2.0
)"));
  EXPECT_TRUE(find_writes(compile(source)).empty());
}

}  // namespace
}  // namespace bitfall::writes_test
