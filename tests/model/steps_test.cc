// What is known of steps, parameters and slots ahead of a run.
#include "steps.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "compile_graph.h"
#include "scripted_module.h"

namespace bitfall::steps_test {
namespace {

using testing::ElementsAre;

TEST(Steps, HaveKindsUnlessTheyOnlyMoveValues) {
  const c10::InferenceMode guard;
  const CompiledGraph compiled = compile(module_graph(scripted_module(R"(
def forward(self, x):
  y = torch.matmul(x, x.t())
  z = torch.relu(y).view([-1])
  z.mul_(2.0)
  return torch.softmax(z.reshape([2, -1]), 1)
)")));
  std::vector<std::string> kinds, functions;
  for (const Step& step : describe_steps(compiled)) {
    kinds.push_back(step.operation);
    functions.push_back(step.function);
    EXPECT_EQ(step.in_place, step.function == "aten::mul_") << step.function;
    ASSERT_EQ(step.outputs.size(), 1U);
    EXPECT_EQ(step.output, step.outputs[0]);
  }
  EXPECT_THAT(functions, ElementsAre("aten::t", "aten::matmul", "aten::relu", "aten::view",
                                     "aten::mul_", "aten::reshape", "aten::softmax"));
  EXPECT_THAT(kinds, ElementsAre("", "matmul", "relu", "", "mul", "", "softmax"));
}

TEST(Steps, ValuesLiveFromTheStepThatMakesThemToTheLastThatReadsThem) {
  const c10::InferenceMode guard;
  const CompiledGraph compiled = compile(module_graph(scripted_module(R"(
def forward(self, x):
  early = torch.relu(x)
  late = torch.tanh(early)
  return torch.sigmoid(late) + early
)")));
  const std::vector<Step> steps = describe_steps(compiled);
  const std::vector<Lifetime> lifetimes = find_lifetimes(compiled);
  ASSERT_EQ(steps.size(), 4U);
  const auto of = [&](int slot) {
    const Lifetime& lifetime = lifetimes[static_cast<std::size_t>(slot)];
    return std::make_pair(lifetime.made, lifetime.last);
  };
  EXPECT_EQ(of(compiled.input), std::make_pair(-1, 0));
  EXPECT_EQ(of(steps[0].output), std::make_pair(0, 3));
  EXPECT_EQ(of(steps[1].output), std::make_pair(1, 2));
  EXPECT_EQ(of(steps[2].output), std::make_pair(2, 3));
  EXPECT_EQ(of(steps[3].output), std::make_pair(3, 4));  // the answer: after the last step
  EXPECT_TRUE(lifetimes[static_cast<std::size_t>(steps[0].output)].lives_at(3));
  EXPECT_FALSE(lifetimes[static_cast<std::size_t>(steps[0].output)].lives_at(0));
}

TEST(Steps, ParametersAreNamedAndOrderedByTheStepThatReadsThem) {
  const c10::InferenceMode guard;
  torch::jit::Module module("test");
  const at::Tensor tied = at::ones({3, 3});
  module.register_parameter("late", at::ones({3}), /*is_buffer=*/false);
  module.register_parameter("first", tied, false);
  module.register_parameter("second", tied, false);
  module.register_buffer("shift", at::zeros({3}));
  module.define(R"(
def forward(self, x):
  x = torch.matmul(x, self.first.t())
  x = torch.relu(x - self.shift)
  if bool(x.sum() > 1000.0):
    x = x * self.late
  return torch.matmul(x, self.second)
)");
  module.eval();
  const ModuleGraph source = module_graph(module);
  const CompiledGraph compiled = compile(source);
  const std::vector<Parameter> parameters = find_parameters(compiled);
  std::vector<std::string> names, operations;
  for (const Parameter& parameter : parameters) {
    names.push_back(parameter.name);
    operations.push_back(parameter.operation);
    EXPECT_EQ(parameter.learned, parameter.name != "shift");
  }
  ASSERT_THAT(names, ElementsAre("first", "second", "shift", "late"));
  // `first` is read through a view; `late` inside a conditional.
  EXPECT_THAT(operations, ElementsAre("matmul", "matmul", "sub", "mul"));
  EXPECT_EQ(parameters[0].slots, parameters[1].slots) << "one memory: a fault reaches both";
  EXPECT_EQ(parameters[0].slots.size(), 2U);
  EXPECT_EQ(parameters[0].first_step, 0);
  const Step& reader = describe_steps(compiled)[static_cast<std::size_t>(parameters[3].first_step)];
  EXPECT_EQ(reader.function, "prim::If");
}

// Of a weight that is computed with before a layer reads it, the layer; the module of a table's own
// network keeps its linear layers.
TEST(Steps, ParametersBelongToTheStepInWhichTheyMeetTheImage) {
  const c10::InferenceMode guard;
  torch::jit::Module module("test");
  for (const char* name : {"normed", "low", "rank", "table", "shifts", "scale"}) {
    module.register_parameter(name, at::ones({3, 3}), /*is_buffer=*/false);
  }
  module.define(R"(
def forward(self, x):
  w = self.normed / self.normed.norm()
  x = torch.linear(x, w)
  x = torch.linear(x, torch.matmul(self.low, self.rank))
  x = x + torch.relu(torch.linear(self.table, self.shifts))
  return x * self.scale
)");
  module.eval();
  std::map<std::string, std::string> operations;
  for (const Parameter& parameter : find_parameters(compile(module_graph(module)))) {
    operations[parameter.name] = parameter.operation;
  }
  EXPECT_EQ(operations["normed"], "linear");
  EXPECT_EQ(operations["low"], "linear");
  EXPECT_EQ(operations["rank"], "linear");
  EXPECT_EQ(operations["table"], "linear");
  EXPECT_EQ(operations["shifts"], "linear");
  EXPECT_EQ(operations["scale"], "mul");
}

TEST(Steps, ParametersKnowWhatElseLiesInTheirMemory) {
  const c10::InferenceMode guard;
  torch::jit::Module module("test");
  const at::Tensor memory = at::randn({6, 4});
  module.register_parameter("whole", memory, /*is_buffer=*/false);
  module.register_parameter("turned", memory.t(), false);
  module.register_parameter("rows", memory.narrow(0, 2, 2), false);
  module.register_parameter("others", memory.narrow(0, 4, 2), false);
  module.register_parameter("apart", memory.clone(), false);
  module.define(R"(
def forward(self, x):
  x = torch.matmul(torch.matmul(x, self.turned), self.whole)
  return x + self.rows + self.others + self.apart[0]
)");
  module.eval();
  std::map<std::string, std::size_t> overlaps;
  for (const Parameter& parameter : find_parameters(compile(module_graph(module)))) {
    EXPECT_EQ(parameter.slots.size(), 1U) << parameter.name;
    overlaps[parameter.name] = parameter.overlaps.size();
  }
  EXPECT_EQ(overlaps["whole"], 3U);
  EXPECT_EQ(overlaps["turned"], 3U);
  EXPECT_EQ(overlaps["rows"], 2U);
  EXPECT_EQ(overlaps["others"], 2U);
  EXPECT_EQ(overlaps["apart"], 0U);
}

}  // namespace
}  // namespace bitfall::steps_test
