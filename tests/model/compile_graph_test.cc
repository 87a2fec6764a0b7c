// Graphs to instructions, and running these. The oracle is TorchScript's own interpreter.
#include "compile_graph.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "scripted_module.h"

namespace bitfall {
namespace {

namespace jit = torch::jit;

Slots start(const CompiledGraph& compiled, const at::Tensor& image) {
  Slots slots = compiled.fixed;
  slots[static_cast<std::size_t>(compiled.input)] = image;
  return slots;
}

at::Tensor answer(const CompiledGraph& compiled, const at::Tensor& image) {
  Slots slots = start(compiled, image);
  for (const Instruction& instruction : compiled.instructions) execute(instruction, slots);
  return slots[static_cast<std::size_t>(compiled.output)].toTensor();
}

int conditionals(const CompiledGraph& compiled) {
  int count = 0;
  for (const Instruction& instruction : compiled.instructions) {
    if (instruction.node->kind() == c10::prim::If) ++count;
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
  EXPECT_TRUE(at::equal(answer(compiled, image[0].unsqueeze(0)), (image[0] * 2).relu().reshape({1, 1})));
  int rounds = 0;
  while (fold_conditions(source, compiled, start(compiled, image))) {
    compiled = compile(source);
    ++rounds;
  }
  EXPECT_GE(rounds, 1);
  EXPECT_EQ(conditionals(compiled), 0);
  EXPECT_EQ(compiled.instructions.size(), 2U);  // add, relu
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
  EXPECT_FALSE(fold_conditions(source, compiled, start(compiled, ones)));
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
  for (const Instruction& instruction : compile(source).instructions) {
    paths[instruction.node->kind().toQualString()] = instruction.node->scopeName();
  }
  EXPECT_EQ(paths["aten::sub"], "norm");
  EXPECT_EQ(paths["aten::add"], "");
}

}  // namespace
}  // namespace bitfall
