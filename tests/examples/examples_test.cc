// The examples of plugins/examples against values made by hand. tests/authors_test.py holds log8
// and orthogonal against NumPy, and uses all of them as a newcomer would.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "error_model_fixture.h"
#include "loaded_plugins.h"

namespace bitfall::examples_test {
namespace {

using testing::ElementsAre;

const PluginHost& examples() {
  static const auto host = [] {
    auto loaded = std::make_unique<PluginHost>();
    loaded->load_folder(std::filesystem::path(BITFALL_BUILD_DIR) / "tests/plugins/examples");
    EXPECT_EQ(loaded->components().size(), 5u);
    return loaded;
  }();
  return *host;
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(Log8, PowersOfTwoAreEveryFourthCode) {
  Diagnostics diagnostics("", "");
  const auto format = examples().make_format(plugin_choice("log8"), diagnostics);
  ASSERT_NE(format, nullptr) << diagnostics.render();
  const std::vector<float> values = {0,    1,    -1,    2,    0.5F,  1.19F,
                                     1.3F, kInf, -kInf, kNan, 1e-6F, -0.0F};
  const std::vector<std::int64_t> shape = {12};
  std::vector<std::uint32_t> codes(values.size());
  format->encode(values, {shape}, {}, codes);
  // 1 has e = 64; 1.19 is nearest to 2^(1/4) = 1.189, 1.3 to it too (2^(2/4) = 1.414, and the
  // middle of the exponents is 2^(3/8) = 1.297: so to 2^(2/4)).
  EXPECT_THAT(codes, ElementsAre(0, 64, 192, 68, 60, 65, 66, 127, 255, 0, 0, 128));
  std::vector<float> decoded(values.size());
  format->decode(codes, {shape}, {}, decoded);
  EXPECT_EQ(decoded[3], 2);
  EXPECT_EQ(decoded[4], 0.5F);
  EXPECT_FLOAT_EQ(decoded[5], 1.1892071F);
  EXPECT_FLOAT_EQ(decoded[6], 1.4142135F);
  EXPECT_FLOAT_EQ(decoded[7], 55108.99F);
}

/// Values of one channel, counted by their places.
std::set<std::int64_t> elements_of_channel(std::int64_t channel) {
  std::set<std::int64_t> elements;
  for (std::int64_t row = 0; row < 2; ++row) {
    for (std::int64_t column = 0; column < 4; ++column) {
      elements.insert((row * 3 + channel) * 4 + column);
    }
  }
  return elements;
}

TEST(ChannelFlip, FlipsOneBitOfAllValuesOfAChannel) {
  Diagnostics diagnostics("", "");
  const auto model = examples().make_error_model(plugin_choice("channel_flip"), diagnostics);
  ASSERT_NE(model, nullptr) << diagnostics.render();
  ShapedSite site({2, 3, 4});
  EXPECT_EQ(model->population(site.view), 0);  // no channels
  site.view.channel_axis = 1;
  EXPECT_EQ(model->population(site.view), 3 * 8);
  TwisterStream random(1);
  std::set<std::pair<std::int64_t, std::uint32_t>> met;
  for (int i = 0; i < 2000; ++i) {
    const auto edits = draw_edits(*model, site.view, random);
    std::set<std::int64_t> elements;
    for (const Edit& edit : edits) {
      EXPECT_EQ(edit.mask, edits[0].mask);
      EXPECT_EQ(edit.operation, EditOperation::kFlip);
      elements.insert(edit.element);
    }
    const std::int64_t channel = *elements.begin() / 4;
    EXPECT_EQ(elements, elements_of_channel(channel));
    EXPECT_EQ(edits.size(), elements.size());
    met.insert({channel, edits[0].mask});
  }
  EXPECT_EQ(met.size(), 24u);
}

/// top_k's column for these faulty logits where the golden answer is class 1.
double lost(std::int64_t k, const std::vector<float>& faulty) {
  Diagnostics diagnostics("", "");
  const auto metric = examples().make_metric(plugin_choice("top_k", {{"k", k}}), diagnostics);
  const std::vector<float> golden = {0, 9, 1, 2};
  const Observation trial{sizeof(Observation), golden, faulty, 0, 0, 0, 1, 0};
  std::vector<double> values(1);
  metric->measure(trial, values);
  EXPECT_EQ(metric->columns()[0].name, "top" + std::to_string(k) + "_lost");
  return values[0];
}

TEST(TopK, CountsWhatIsAhead) {
  EXPECT_EQ(lost(1, {0, 9, 1, 2}), 0);
  EXPECT_EQ(lost(1, {9.5, 9, 1, 2}), 1);
  EXPECT_EQ(lost(2, {9.5, 9, 1, 2}), 0);
  EXPECT_EQ(lost(2, {9.5, 9, 9.5, 2}), 1);
  EXPECT_EQ(lost(1, {9, 9, 1, 2}), 1);  // of equal ones the first is ahead
  EXPECT_EQ(lost(1, {0, 9, 9, 2}), 0);
  EXPECT_EQ(lost(1, {kNan, 9, 1, 2}), 1);
  EXPECT_EQ(lost(1, {0, kNan, 1, kInf}), 0);
  EXPECT_EQ(lost(4, {kNan, kNan, kNan, kNan}), 0);
}

TEST(Clamp, BringsBackIntoTheRangeOfTraining) {
  Diagnostics diagnostics("", "");
  const auto clamp = examples().make_protection(plugin_choice("clamp"), diagnostics);
  ASSERT_NE(clamp, nullptr) << diagnostics.render();
  const std::vector<std::int64_t> shape = {6};
  const ProtectedSite site{sizeof(ProtectedSite), "relu", "relu", shape, -1, 65504};
  ASSERT_TRUE(clamp->wants(site));
  std::vector<double> scratch(3);
  std::vector<float> state(2);
  clamp->learn(site, 0, std::vector<float>{1, 2, kNan, 3, kInf, 2}, scratch);
  clamp->learn(site, 0, std::vector<float>{-0.5, 2, 2, 2, 2, 2}, scratch);
  clamp->finish(site, scratch, state);
  EXPECT_THAT(state, ElementsAre(-0.5F, 3));
  std::vector<float> values = {4, -0.5, 3, kNan, -kInf, 0};
  const Verdict verdict = clamp->guard(site, values, {shape}, state);
  EXPECT_THAT(values, ElementsAre(3, -0.5F, 3, -0.5F, -0.5F, 0));
  EXPECT_EQ(verdict.detected, 3);
  EXPECT_EQ(verdict.corrected, 3);
}

}  // namespace
}  // namespace bitfall::examples_test
