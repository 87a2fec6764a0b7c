// What steps that work in place write to.
#include "memory_flow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "compile_graph.h"
#include "scripted_module.h"

namespace bitfall::memory_flow_test {
namespace {

using testing::IsSupersetOf;
using testing::UnorderedElementsAre;

// Functions of the steps that made the values that the step of this kind writes to.
std::multiset<std::string> written_by(const char* code, const std::string& function) {
  const CompiledGraph compiled = compile(module_graph(scripted_module(code)));
  std::multiset<std::string> makers;
  for (const Write& write : find_writes(compiled)) {
    if (compiled.steps[static_cast<std::size_t>(write.step)].function != function) continue;
    for (const Instruction& step : compiled.steps) {
      for (const int slot : step.out) {
        if (slot == write.slot) makers.insert(step.function);
      }
    }
    if (write.slot == compiled.input) makers.insert("the image");
  }
  return makers;
}

// What a step that writes to a copy gives by further names counts as its own.
TEST(MemoryFlow, ReachesEveryViewAndNothingElse) {
  EXPECT_THAT(written_by(R"(
def forward(self, x):
  apart = torch.tanh(x)
  whole = torch.relu(x)
  part = whole.view([-1])
  part.mul_(2.0)
  return whole + apart
)",
                         "aten::mul_"),
              UnorderedElementsAre("aten::relu", "aten::view", "aten::mul_", "aten::mul_"));
}

TEST(MemoryFlow, ReachesThroughWhatHandsItsOperandBack) {
  EXPECT_THAT(written_by(R"(
def forward(self, x):
  whole = torch.sigmoid(x)
  same = whole.type_as(x)
  again = same.mul_(2.0)
  return whole + again
)",
                         "aten::mul_"),
              IsSupersetOf({"aten::sigmoid", "aten::type_as", "aten::mul_"}));
}

TEST(MemoryFlow, ReachesThroughListsDictionariesAndTuples) {
  EXPECT_THAT(written_by(R"(
def forward(self, x):
  parts = list(torch.sigmoid(x).split(1, 1))
  named = {"first": torch.tanh(x)}
  parts.append(named["first"])
  last = parts[x.dim() - 5]
  again = last.mul_(2.0)
  return torch.cat(parts, 1) + again.sum()
)",
                         "aten::mul_"),
              IsSupersetOf({"aten::sigmoid", "aten::tanh", "aten::split", "aten::list"}));
}

// A list that grows changes no tensor, and no other list of them.
TEST(MemoryFlow, OfAListIsNotThatOfItsElements) {
  EXPECT_THAT(written_by(R"(
def forward(self, x):
  y = torch.sigmoid(x)
  one = [y, y]
  other = [y]
  if bool(x.sum() > 100.0):
    other.append(y)
  lists = [one, other]
  other.append(y)
  return torch.cat(lists[x.dim() - 3], 1) + torch.cat(one, 1).sum()
)",
                         "aten::append"),
              testing::AllOf(testing::Not(testing::Contains("aten::sigmoid")),
                             testing::Contains("prim::ListConstruct").Times(2),
                             testing::Contains("aten::append")));
}

TEST(MemoryFlow, OfABranchIsTheConditionals) {
  const auto makers = written_by(R"(
def forward(self, x):
  whole = torch.relu(x)
  part = whole.view([-1])
  if bool(x.sum() > 0):
    part.mul_(2.0)
  return whole
)",
                                 "prim::If");
  EXPECT_EQ(makers.count("aten::relu"), 1U);
  EXPECT_EQ(makers.count("aten::view"), 1U);
}

TEST(MemoryFlow, GoesRoundLoops) {
  EXPECT_THAT(written_by(R"(
def forward(self, x):
  a = torch.relu(x)
  b = torch.tanh(x)
  n = 0
  while bool(a.sum() < 100.0) and n < 3:
    c = b
    b = a
    a = c
    b.mul_(2.0)
    n += 1
  return a
)",
                         "prim::Loop"),
              IsSupersetOf({"aten::relu", "aten::tanh"}));
}

TEST(MemoryFlow, WritesNothingWhereNothingWorksInPlace) {
  EXPECT_THAT(find_writes(compile(module_graph(scripted_module(R"(
def forward(self, x):
  return torch.relu(x).view([-1]) * 2.0
)")))),
              testing::IsEmpty());
}

}  // namespace
}  // namespace bitfall::memory_flow_test
