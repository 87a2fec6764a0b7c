// Learning rates against torch.optim.lr_scheduler.
#include "schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace bitfall::schedule_test {
namespace {

/// The rates of `steps` steps that a Python expression for a scheduler of optimiser `o` gives.
std::vector<double> torch_rates(const std::string& scheduler, double rate, int steps) {
  const std::string program =
      "import warnings, torch; warnings.simplefilter('ignore'); from torch.optim.lr_scheduler "
      "import *; o = torch.optim.SGD([torch.zeros(1)], lr=" +
      std::to_string(rate) + "); s = " + scheduler + "\nfor _ in range(" + std::to_string(steps) +
      "): print(repr(o.param_groups[0]['lr'])); o.step(); s.step()";
  const std::string command = "\"" + std::string(BITFALL_PYTHON) + "\" -c \"" + program + "\"";
  FILE* pipe = popen(command.c_str(), "r");
  std::vector<double> rates;
  for (double value; std::fscanf(pipe, "%lf", &value) == 1;) rates.push_back(value);
  EXPECT_EQ(pclose(pipe), 0) << command;
  return rates;
}

void expect_rates(const ScheduleConfig& config, double highest, std::int64_t epochs,
                  std::int64_t steps_per_epoch, const std::vector<double>& expected) {
  const Schedule schedule(config, highest, epochs, steps_per_epoch);
  ASSERT_EQ(expected.size(), static_cast<std::size_t>(epochs * steps_per_epoch));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(schedule.rate(static_cast<std::int64_t>(i)), expected[i], 1e-12 * highest) << i;
  }
}

class ScheduleTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(BITFALL_PYTHON)) GTEST_SKIP() << "no Python with PyTorch";
  }
};

TEST_F(ScheduleTest, OneCycleIsPyTorchs) {
  ScheduleConfig config;
  config.kind = ScheduleKind::kOneCycle;
  expect_rates(config, 0.2, 4, 13, torch_rates("OneCycleLR(o, 0.2, total_steps=52)", 0.2, 52));
  config.rise = 0.1;
  config.start_factor = 0.1;
  config.end_factor = 0.001;
  expect_rates(config, 0.05, 3, 10,
               torch_rates("OneCycleLR(o, 0.05, total_steps=30, pct_start=0.1, div_factor=10, "
                           "final_div_factor=100)",
                           0.05, 30));
}

TEST_F(ScheduleTest, CosineIsPyTorchs) {
  ScheduleConfig config;
  config.kind = ScheduleKind::kCosine;
  config.minimum = 0.001;
  expect_rates(config, 0.1, 3, 7,
               torch_rates("CosineAnnealingLR(o, T_max=21, eta_min=0.001)", 0.1, 21));
  config.warmup_epochs = 1;
  config.warmup_factor = 0.01;
  expect_rates(config, 0.1, 3, 7,
               torch_rates("SequentialLR(o, [LinearLR(o, 0.01, 1.0, 7), CosineAnnealingLR(o, "
                           "T_max=14, eta_min=0.001)], [7])",
                           0.1, 21));
}

TEST_F(ScheduleTest, StepIsPyTorchsOnceAnEpoch) {
  ScheduleConfig config;
  config.kind = ScheduleKind::kStep;
  config.step_epochs = 2;
  config.gamma = 0.5;
  expect_rates(config, 0.1, 5, 3, torch_rates("StepLR(o, 6, 0.5)", 0.1, 15));
}

TEST(Schedule, ConstantStaysAndShortTrainingsAreFinite) {
  ScheduleConfig config;
  config.kind = ScheduleKind::kConstant;
  EXPECT_EQ(Schedule(config, 0.3, 2, 5).rate(9), 0.3);
  for (const auto kind : {ScheduleKind::kConstant, ScheduleKind::kStep, ScheduleKind::kCosine,
                          ScheduleKind::kOneCycle}) {
    config.kind = kind;
    config.warmup_epochs = kind == ScheduleKind::kOneCycle ? 0 : 5;  // longer than the training
    for (const std::int64_t steps : {1, 2, 3}) {
      const Schedule schedule(config, 0.3, 1, steps);
      for (std::int64_t step = 0; step < steps; ++step) {
        const double rate = schedule.rate(step);
        EXPECT_TRUE(rate >= 0 && rate <= 0.3)
            << static_cast<int>(kind) << " " << step << " " << rate;
      }
    }
  }
}

}  // namespace
}  // namespace bitfall::schedule_test
