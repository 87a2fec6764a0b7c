#include "model_costs.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "cost_oracle.h"
#include "model.h"
#include "model_fixture.h"

namespace bitfall::model_costs_test {
namespace {

struct Case {
  const char* model;
  std::array<std::int64_t, 3> input;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.model; }

const std::vector<Case> kCases = {{"residual", {3, 8, 8}},  {"residual_traced", {3, 8, 8}},
                                  {"attention", {3, 8, 8}}, {"attention_traced", {3, 8, 8}},
                                  {"shared", {3, 8, 8}},    {"maps", {3, 72, 56}},
                                  {"products", {3, 8, 8}},  {"encoder", {3, 8, 8}}};

const CountedCosts& counted(std::string_view name) {
  static const std::vector<CountedCosts> all = [] {
    std::vector<std::pair<std::filesystem::path, std::string>> models;
    for (const auto& [model, input] : kCases) {
      models.emplace_back(small_model(model), std::to_string(input[0]) + "x" +
                                                  std::to_string(input[1]) + "x" +
                                                  std::to_string(input[2]));
    }
    return counted_by_torch(models);
  }();
  const auto at = std::find_if(kCases.begin(), kCases.end(),
                               [&](const Case& one) { return one.model == name; });
  return all.at(static_cast<std::size_t>(at - kCases.begin()));
}

class CountedTest : public testing::TestWithParam<Case> {};

// The published backbones are counted in backbone_test.
TEST_P(CountedTest, CostsAreWhatTorchCounts) {
  const auto [name, input] = GetParam();
  const CountedCosts& expected = counted(name);
  for (const std::int64_t batch : {1, 3}) {
    const ModelCosts costs = model_costs(Model(small_model(name), {input, batch}));
    EXPECT_EQ(costs.parameters, expected.parameters);
    EXPECT_EQ(costs.operations, expected.operations);
    const LayerCost all = costs_below(costs, "");
    EXPECT_EQ(all.parameters, costs.parameters);
    EXPECT_EQ(all.operations, costs.operations);
  }
}

// Without the last, of whose operators torch counts no operations.
INSTANTIATE_TEST_SUITE_P(Small, CountedTest, testing::ValuesIn(kCases.begin(), kCases.end() - 1));

// torch's counter does not know these operators.
TEST(ModelCosts, CountsFusedAttention) {
  const ModelCosts costs = model_costs(Model(small_model("encoder"), {{3, 8, 8}, 2}));
  constexpr std::int64_t kTokens = 16, kWidth = 16, kInner = 32;
  constexpr std::int64_t kPatches = kTokens * kWidth * 3 * 2 * 2;
  constexpr std::int64_t kAttention = kTokens * kWidth * (3 * kWidth + kWidth) +  // projections
                                      2 * kTokens * kTokens * kWidth;
  constexpr std::int64_t kFeedForward = 2 * kTokens * kWidth * kInner;
  EXPECT_EQ(costs.operations, kPatches + kAttention + kFeedForward + kWidth * 10);
  EXPECT_EQ(costs.parameters, counted("encoder").parameters);
}

TEST(ModelCosts, ListsLayersInNetworkOrder) {
  const ModelCosts costs = model_costs(Model(small_model("residual"), {{3, 8, 8}, 2}));
  ASSERT_EQ(costs.layers.size(), 8U);  // stem, two blocks of conv, norm, conv, and the last linear
  const LayerCost& stem = costs.layers.front();
  EXPECT_EQ(stem.name, "stem");
  EXPECT_EQ(stem.operation, "conv");
  EXPECT_EQ(stem.parameters, 3 * 8 * 9 + 8);
  EXPECT_EQ(stem.operations, 3 * 8 * 9 * 64);
  EXPECT_EQ(costs.layers[2].name, "layer.0.bn1");
  EXPECT_EQ(costs.layers[2].operation, "batch_norm");
  EXPECT_EQ(costs.layers[2].parameters, 16);  // without running mean and variance
  EXPECT_EQ(costs.layers[2].operations, 0);
  EXPECT_EQ(costs.layers.back().name, "fc");
  EXPECT_EQ(costs.layers.back().operations, 40);
}

TEST(ModelCosts, SumsAModuleWithAllBelowIt) {
  const ModelCosts costs{
      0, 0, {{"a", "conv", 1, 10}, {"a.b", "linear", 2, 20}, {"ab", "conv", 4, 40}}};
  EXPECT_EQ(costs_below(costs, "a").parameters, 3);
  EXPECT_EQ(costs_below(costs, "a").operations, 30);
  EXPECT_EQ(costs_below(costs, "a.b").parameters, 2);
  EXPECT_EQ(costs_below(costs, "").operations, 70);
  EXPECT_EQ(costs_below(costs, "c").operations, 0);
}

}  // namespace
}  // namespace bitfall::model_costs_test
