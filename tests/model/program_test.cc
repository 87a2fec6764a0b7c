#include "program.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "error.h"
#include "model_fixture.h"

namespace bitfall::program_test {
namespace {

at::Tensor images(std::int64_t batch, std::uint64_t seed = 1) {
  at::manual_seed(seed);
  return at::randn({batch, 3, 8, 8});
}

class ProgramOfModel : public testing::TestWithParam<const char*> {};

// The oracle is LibTorch's own interpreter.
TEST_P(ProgramOfModel, EqualsForwardBitForBit) {
  const c10::InferenceMode guard;
  Program program(small_model(GetParam()), "cpu");
  program.choose_answer({"", 0, 0, /*any=*/true});
  const at::Tensor input = images(4);
  program.specialise(input);
  const at::Tensor want = program.forward(input);
  for (int repeat = 0; repeat < 3; ++repeat) {
    Slots slots = program.start(input);
    program.run(slots, 0, static_cast<int>(program.steps().size()));
    EXPECT_TRUE(at::equal(program.output(slots), want)) << "repeat " << repeat;
  }
}

// From every step on, forked from one front that goes forward a step at a time, as the engine does.
TEST_P(ProgramOfModel, RunsFromEveryStep) {
  const c10::InferenceMode guard;
  Program program(small_model(GetParam()), "cpu");
  program.choose_answer({"", 0, 0, /*any=*/true});
  const at::Tensor input = images(4);
  program.specialise(input);
  const at::Tensor want = program.forward(input);
  const int steps = static_cast<int>(program.steps().size());
  Slots front = program.start(input);
  for (int at = 0; at <= steps; ++at) {
    for (int repeat = 0; repeat < 2; ++repeat) {
      Slots fork = program.fork(front, at);
      program.run(fork, at, steps);
      EXPECT_TRUE(at::equal(program.output(fork), want))
          << "from step " << at << ", repeat " << repeat;
    }
    if (at < steps) program.run(front, at, at + 1);
  }
}

TEST_P(ProgramOfModel, WritesToNoParameterAndNotToTheInput) {
  const c10::InferenceMode guard;
  Program program(small_model(GetParam()), "cpu");
  program.choose_answer({"", 0, 0, /*any=*/true});
  const at::Tensor input = images(4);
  program.specialise(input);
  const std::string before = program.checksum();
  const at::Tensor copy = input.clone();
  Slots slots = program.start(input);
  program.run(slots, 0, static_cast<int>(program.steps().size()));
  EXPECT_EQ(program.checksum(), before);
  EXPECT_TRUE(at::equal(input, copy));
}

INSTANTIATE_TEST_SUITE_P(Small, ProgramOfModel,
                         testing::Values("residual", "residual_traced", "defaults", "encoder",
                                         "attention", "attention_traced", "masked", "branches",
                                         "shared", "mixing", "pair", "mapsgrowing"));

TEST(Program, TakesTheBranchThatTheValuesChoose) {
  const c10::InferenceMode guard;
  Program program(small_model("branches"), "cpu");
  program.specialise(images(4));
  // The last conditional reads values: it must stay one, and follow each input.
  for (std::uint64_t seed = 1; seed < 9; ++seed) {
    const at::Tensor input = images(4, seed) * (seed % 2 ? 1.0 : -3.0);
    Slots slots = program.start(input);
    program.run(slots, 0, static_cast<int>(program.steps().size()));
    EXPECT_TRUE(at::equal(program.output(slots), program.forward(input))) << "seed " << seed;
  }
}

TEST(Program, NamesParametersAsTheStateDict) {
  Program program(small_model("residual"), "cpu");
  std::vector<std::string> names;
  for (const Parameter& parameter : program.parameters()) names.push_back(parameter.name);
  EXPECT_THAT(names, testing::IsSupersetOf({"stem.weight", "stem.bias", "layer.0.conv1.weight",
                                            "layer.0.bn1.weight", "layer.1.conv2.bias", "fc.weight",
                                            "fc.bias"}));
}

TEST(Program, TiedParametersShareTheirSlots) {
  Program program(small_model("shared"), "cpu");
  std::map<std::string, std::vector<int>> slots;
  for (const Parameter& parameter : program.parameters()) {
    slots[parameter.name] = parameter.slots;
    std::sort(slots[parameter.name].begin(), slots[parameter.name].end());
  }
  // Two layers read the one tensor: a fault in it, under either name, must reach both.
  ASSERT_EQ(slots.count("first.weight"), 1U);
  ASSERT_EQ(slots.count("second.weight"), 1U);
  EXPECT_EQ(slots["first.weight"].size(), 2U);
  EXPECT_EQ(slots["first.weight"], slots["second.weight"]);
}

void expect_refused(const std::string& name, const std::string& reason) {
  try {
    Program program(small_model(name), "cpu");
    FAIL() << name << " was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInput);
    EXPECT_THAT(error.what(), testing::HasSubstr(small_model(name).string()));
    EXPECT_THAT(error.what(), testing::HasSubstr(reason));
  }
}

TEST(Program, RefusesWhatIsNoModel) {
  expect_refused("truncated", "not a readable TorchScript model");
  expect_refused("text", "not a readable TorchScript model");
  expect_refused("state_dict", "weights saved by torch.save");
  expect_refused("absent", "cannot be read: No such file");
  expect_refused("flipped", "is damaged (CRC-32)");
  expect_refused("twoinputs", "takes 2 inputs without a default");
}

}  // namespace
}  // namespace bitfall::program_test
