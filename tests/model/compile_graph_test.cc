// Graphs to instructions, and running these. The oracle is TorchScript's own interpreter.
#include "compile_graph.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "compiled_module.h"
#include "value_flow.h"

namespace bitfall::compile_graph_test {
namespace {

namespace jit = torch::jit;

int conditionals(const CompiledGraph& compiled) {
  int count = 0;
  for (const Instruction& instruction : compiled.steps) {
    if (instruction.kind == Instruction::Kind::kIf) ++count;
  }
  return count;
}

TEST(CompileGraph, FoldsConditionsOnShapesForOneShape) {
  const c10::InferenceMode guard;
  // The inner one is seen when the outer one is gone.
  const jit::Module module = scripted_module(R"(
def forward(self, x):
  if x.size(0) > 2:
    if x.dim() == 2:
      x = x + 1.0
    else:
      x = x - 1.0
  else:
    x = x * 2.0
  return x.relu()
)");
  const at::Tensor image = at::tensor({-3.0F, 0.5F, 2.0F}).reshape({3, 1});
  ModuleGraph source = module_graph(module);
  CompiledGraph compiled = compile(source);
  EXPECT_EQ(conditionals(compiled), 1);
  EXPECT_FALSE(branches_on_values(compiled));
  EXPECT_TRUE(at::equal(answer(compiled, image), (image + 1).relu()));
  EXPECT_TRUE(
      at::equal(answer(compiled, image[0].unsqueeze(0)), (image[0] * 2).relu().reshape({1, 1})));
  int rounds = 0;
  while (fold_control(source, compiled, start(compiled, image))) {
    compiled = compile(source);
    ++rounds;
  }
  EXPECT_GE(rounds, 1);
  EXPECT_EQ(conditionals(compiled), 0);
  EXPECT_EQ(compiled.steps.size(), 2U);  // add, relu
  EXPECT_TRUE(at::equal(answer(compiled, image), (image + 1).relu()));
}

TEST(CompileGraph, KeepsConditionsOnValues) {
  const c10::InferenceMode guard;
  const jit::Module module = scripted_module(R"(
def forward(self, x):
  if bool(x.sum() > 0):
    return x + 1.0
  return x - 1.0
)");
  ModuleGraph source = module_graph(module);
  const CompiledGraph compiled = compile(source);
  const at::Tensor ones = at::ones({2});
  EXPECT_FALSE(fold_control(source, compiled, start(compiled, ones)));
  EXPECT_TRUE(branches_on_values(compiled));
  EXPECT_TRUE(at::equal(answer(compiled, ones), ones + 1));
  EXPECT_TRUE(at::equal(answer(compiled, -ones), -ones - 1));
}

// Every kind of node that execute() takes upon itself.
TEST(CompileGraph, RunsLoopsListsTuplesAndDictionaries) {
  const c10::InferenceMode guard;
  const jit::Module module = scripted_module(R"(
def forward(self, x):
  total = x
  rounds = 0
  while bool(total.max() < 20.0) and rounds < 5:
    pair = (total, total + 1.0)
    low, high = pair
    a, b = torch.split(torch.cat([low, high], 1), [1, 3], 1)
    named = {"a": a, "b": b}
    total = total + named["a"] * named["b"].sum()
    rounds += 1
  return total * float(rounds)
)");
  const CompiledGraph compiled = compile(module_graph(module));
  EXPECT_TRUE(branches_on_values(compiled));
  for (const float value : {0.5F, 3.0F, 30.0F}) {
    const at::Tensor image = at::full({2, 2}, value);
    jit::Module oracle = module;
    EXPECT_TRUE(at::equal(answer(compiled, image), oracle.forward({image}).toTensor())) << value;
  }
}

TEST(CompileGraph, FurtherInputsKeepTheirDefaults) {
  const c10::InferenceMode guard;
  const jit::Module module = scripted_module(R"(
def forward(self, x, mask: Optional[Tensor] = None, scale: float = 3.0):
  if mask is not None:
    x = x * mask
  return x * scale
)");
  const CompiledGraph compiled = compile(module_graph(module));
  EXPECT_EQ(conditionals(compiled), 0);
  EXPECT_TRUE(at::equal(answer(compiled, at::ones({2})), at::full({2}, 3.0F)));
}

TEST(CompileGraph, TellsOperatorsHowManyOperandsTheyTake) {
  const c10::InferenceMode guard;
  jit::Module module = scripted_module(R"(
def forward(self, x):
  words = "{} of {}".format(x.size(0), x.dim()) + "%d, %d" % (x.size(0), x.dim())
  list: List[float] = x[0].tolist()
  return x * float(len(words)) + list[0]
)");
  const CompiledGraph compiled = compile(module_graph(module));
  for (const std::int64_t rows : {2, 1000}) {
    const at::Tensor image = at::full({rows, 3}, 0.5F);
    EXPECT_TRUE(at::equal(answer(compiled, image), module.forward({image}).toTensor())) << rows;
  }
}

TEST(CompileGraph, UnrollsLoopsThatShapesDecide) {
  const c10::InferenceMode guard;
  const jit::Module module = scripted_module(R"(
def forward(self, x):
  i = 0
  while i < x.size(1):
    x = torch.relu(x * 2.0 - float(i))
    for j in range(x.dim()):
      x = x + 1.0
    i += 1
  return x
)");
  const at::Tensor image = at::tensor({-3.0F, 0.5F, 2.0F, 7.0F, 1.0F, 0.0F}).reshape({2, 3});
  ModuleGraph source = module_graph(module);
  CompiledGraph compiled = compile(source);
  EXPECT_FALSE(branches_on_values(compiled));
  while (fold_control(source, compiled, start(compiled, image))) compiled = compile(source);
  int relus = 0;
  for (const Instruction& instruction : compiled.steps) {
    EXPECT_NE(instruction.kind, Instruction::Kind::kLoop);
    relus += instruction.function == "aten::relu";
  }
  EXPECT_EQ(relus, 3);
  jit::Module oracle = module;
  EXPECT_TRUE(at::equal(answer(compiled, image), oracle.forward({image}).toTensor()));
}

// What is set is a value from there on, whatever branch or loop it is set in.
TEST(CompileGraph, AttributesThatForwardSetsAreValues) {
  const c10::InferenceMode guard;
  jit::Module module("test");
  module.register_attribute("calls", c10::IntType::get(), 3);
  module.register_attribute("last", c10::OptionalType::create(c10::TensorType::get()), {});
  module.define(R"(
def forward(self, x):
  self.calls += 1
  if x.size(0) > 1:
    self.last = x * 2.0
  for i in range(x.size(0)):
    self.calls = self.calls + i
  last = self.last
  if last is not None:
    x = x + last
  return x * float(self.calls)
)");
  module.eval();
  const ModuleGraph source = module_graph(module);
  EXPECT_TRUE(source.sets_attributes);
  const CompiledGraph compiled = compile(source);
  for (const std::int64_t rows : {1, 3}) {
    const at::Tensor image = at::randn({rows, 2});
    jit::Module oracle = module.deepcopy();
    const at::Tensor wanted = oracle.forward({image}).toTensor();
    EXPECT_TRUE(at::equal(answer(compiled, image), wanted)) << rows;
    EXPECT_TRUE(at::equal(answer(compiled, image), wanted)) << "a state was kept";
  }
  EXPECT_FALSE(
      module_graph(scripted_module("def forward(self, x):\n  return x\n")).sets_attributes);
}

// What LibTorch's interpreter does without an operator.
TEST(CompileGraph, LeavesToTheInterpreterWhatOnlyItKnows) {
  const c10::InferenceMode guard;
  jit::Module module = scripted_module(R"(
def forward(self, x):
  found: Optional[Tensor] = None
  values: List[Optional[Tensor]] = [found, x]
  for value in values:
    if isinstance(value, Tensor):
      x = x + value
  print("shape", x.size(0))
  assert x.size(0) > 1, "one row is too few"
  return x
)");
  const CompiledGraph compiled = compile(module_graph(module));
  const at::Tensor image = at::ones({2, 2});
  testing::internal::CaptureStdout();
  EXPECT_TRUE(at::equal(answer(compiled, image), image * 2));
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  try {
    answer(compiled, at::ones({1, 2}));
    FAIL() << "nothing was raised";
  } catch (const std::exception& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("one row is too few"));
  }
}

TEST(CompileGraph, KnowsTheModulesAttributesByPath) {
  const c10::InferenceMode guard;
  jit::Module inner("inner");
  inner.register_parameter("weight", at::ones({2}), /*is_buffer=*/false);
  inner.register_buffer("mean", at::zeros({2}));
  inner.define("def forward(self, x):\n  return (x - self.mean) * self.weight\n");
  jit::Module module("outer");
  module.register_module("norm", inner);
  module.define("def forward(self, x):\n  return self.norm.forward(x) + 1.0\n");
  module.eval();
  const ModuleGraph source = module_graph(module);
  std::map<std::string, bool> learned;
  for (const auto& [value, attribute] : source.attributes) {
    if (!attribute.value.isTensor()) continue;
    learned[attribute.name] = attribute.learned;
    EXPECT_TRUE(attribute.value.toTensor().is_same(
        module.attr("norm").toModule().attr(attribute.name.substr(5)).toTensor()))
        << attribute.name << " is a copy";
  }
  EXPECT_THAT(learned, testing::ElementsAre(testing::Pair("norm.mean", false),
                                            testing::Pair("norm.weight", true)));
  std::map<std::string, std::string> paths;
  for (const Instruction& instruction : compile(source).steps) {
    paths[instruction.function] = instruction.path;
  }
  EXPECT_EQ(paths["aten::sub"], "norm");
  EXPECT_EQ(paths["aten::add"], "");
}

}  // namespace
}  // namespace bitfall::compile_graph_test
