#include "combined_group.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

namespace bitfall::combined_group_test {
namespace {

GroupSummary group(std::int64_t trials, std::int64_t mismatches, std::int64_t masked, double mean) {
  GroupSummary group;
  group.trials = group.activated = trials;
  group.population = 1000;
  group.mismatch = proportion(mismatches, trials, 0.99);
  group.nonfinite_rate = group.due = proportion(0, trials, 0.99);
  group.misclassified = proportion(mismatches / 2, trials, 0.99);
  group.outcomes[static_cast<std::size_t>(Outcome::kMasked)] = masked;
  group.outcomes[static_cast<std::size_t>(Outcome::kTop1Changed)] = mismatches;
  group.outcomes[static_cast<std::size_t>(Outcome::kTop1Same)] = trials - mismatches - masked;
  group.delta_loss.trials = trials;
  group.delta_loss.changing = trials - masked;
  group.delta_loss.changes = proportion(trials - masked, trials, 0.99);
  group.delta_loss.mean = group.delta_loss.mean_clipped = mean;
  group.delta_loss.interval = group.delta_loss.clipped_interval = {mean - 0.1, mean + 0.1};
  group.delta_loss.maximum = 3 * mean;
  group.delta_loss.carried = group.delta_loss.clipped_carried = {50, 9};
  return group;
}

std::int64_t all_outcomes(const GroupSummary& group) {
  return std::accumulate(group.outcomes.begin(), group.outcomes.end(), std::int64_t{0});
}

TEST(CombinedGroup, WeighsRatesMeansAndOutcomes) {
  const GroupSummary rare = group(100, 10, 60, 0.5), often = group(700, 420, 0, 2);
  const std::vector<WeightedGroup> parts = {{9, &rare}, {3, &often}};
  const GroupSummary all = combined(parts, {0.99});
  EXPECT_EQ(all.trials, 800);
  EXPECT_EQ(all.population, 2000);
  EXPECT_DOUBLE_EQ(all.mismatch.rate, 0.75 * 0.1 + 0.25 * 0.6);
  EXPECT_LT(all.mismatch.headline.low, all.mismatch.rate);
  EXPECT_GT(all.mismatch.headline.high, all.mismatch.rate);
  EXPECT_STREQ(all.mismatch.method, "stratified");
  EXPECT_DOUBLE_EQ(all.delta_loss.mean, 0.75 * 0.5 + 0.25 * 2);
  EXPECT_DOUBLE_EQ(all.delta_loss.maximum, 6);
  EXPECT_TRUE(std::isnan(all.delta_loss.median));
  EXPECT_DOUBLE_EQ(all.delta_loss.changes.rate, 0.75 * 0.4 + 0.25);
  // Of a weighted mean: (sum w m)^2 / sum (w m)^2 / n_eff.
  const double a = 0.75 * 0.5, b = 0.25 * 2;
  EXPECT_DOUBLE_EQ(all.delta_loss.carried.effective, (a + b) * (a + b) / ((a * a + b * b) / 50));
  EXPECT_EQ(all_outcomes(all), 800);
  EXPECT_EQ(all.count(Outcome::kMasked), std::llround(0.75 * 0.6 * 800));
  EXPECT_EQ(all.activated, 800);
}

TEST(CombinedGroup, PartsWithoutTrialsSayNothing) {
  const GroupSummary one = group(100, 10, 60, 0.5), none = group(0, 0, 0, NAN);
  const std::vector<WeightedGroup> parts = {{1, &one}, {5, &none}};
  const GroupSummary all = combined(parts, {0.99});
  EXPECT_DOUBLE_EQ(all.mismatch.rate, 0.1);
  EXPECT_DOUBLE_EQ(all.delta_loss.mean, 0.5);
  EXPECT_EQ(all_outcomes(all), 100);
  const std::vector<WeightedGroup> nothing = {{1, &none}, {1, &none}};
  EXPECT_TRUE(std::isnan(combined(nothing, {0.99}).mismatch.rate));
  EXPECT_EQ(combined(std::vector<WeightedGroup>{{2, &one}}, {0.99}).mismatch.method,
            one.mismatch.method);
}

/// A part of whose trials `finite` have a finite loss and value.
GroupSummary partly_finite(std::int64_t trials, std::int64_t finite, double mean) {
  GroupSummary part = group(trials, 0, 0, mean);
  part.delta_loss.nonfinite = trials - finite;
  part.delta_loss.changing = finite;
  MetricSummary metric;
  metric.column = "gap";
  metric.trials = trials;
  metric.nonfinite = trials - finite;
  metric.mean = mean;
  metric.interval = {mean - 0.1, mean + 0.1};
  part.metrics.push_back(metric);
  return part;
}

TEST(CombinedGroup, MeansWeighPartsByTheTrialsThatTheyAreOf) {
  // Of 100 trials each drawn as often as in the whole 25 and 75 are finite: their mean is that of
  // all 100 finite ones.
  const GroupSummary few = partly_finite(100, 25, 8), most = partly_finite(100, 75, 2);
  const std::vector<WeightedGroup> parts = {{1, &few}, {1, &most}};
  const GroupSummary all = combined(parts, {0.99});
  EXPECT_DOUBLE_EQ(all.delta_loss.mean, (25 * 8 + 75 * 2) / 100.0);
  EXPECT_DOUBLE_EQ(all.metrics[0].mean, 3.5);
  EXPECT_DOUBLE_EQ(all.delta_loss.mean_clipped, 5);  // infinite losses are cut off there
  EXPECT_DOUBLE_EQ(all.delta_loss.mean_given_change, 3.5);
  // By the delta method, shares of 1/4 and 3/4 of Wilson's interval at 99 % for 25 of 100, which by
  // its formula in Python is [0.156430, 0.374681]; the slopes are 1/1 x (8 - 3.5) and (2 - 3.5).
  const double low = 0.25 - 0.156430, high = 0.374681 - 0.25;
  const double means = std::hypot(0.25 * 0.1, 0.75 * 0.1);
  EXPECT_NEAR(all.delta_loss.interval.low, 3.5 - std::hypot(means, 4.5 * low, 1.5 * low), 1e-4);
  EXPECT_NEAR(all.delta_loss.interval.high, 3.5 + std::hypot(means, 4.5 * high, 1.5 * high), 1e-4);
}

TEST(CombinedGroup, ASingleFiniteLossLeavesTheMeanOpen) {
  GroupSummary one = partly_finite(50, 1, 4);
  one.delta_loss.interval = one.metrics[0].interval = {NAN, NAN};
  const GroupSummary other = partly_finite(100, 100, 0.5);
  const std::vector<WeightedGroup> parts = {{1, &one}, {1, &other}};
  EXPECT_TRUE(std::isinf(combined(parts, {0.99}).delta_loss.interval.high));
  one.delta_loss.nonfinite = 0;
  one.delta_loss.mean = 0;  // of none of 50 the loss changed
  EXPECT_LT(combined(parts, {0.99}).delta_loss.interval.high, 1);
}

TEST(CombinedGroup, MeansOfLayersCountAlikeWhateverTheyAreOf) {
  const GroupSummary few = partly_finite(100, 25, 8), most = partly_finite(100, 75, 2);
  const std::vector<WeightedGroup> parts = {{1, &few}, {1, &most}};
  const GroupSummary all = combined(parts, {.layers = true});
  EXPECT_DOUBLE_EQ(all.metrics[0].mean, 5);
  EXPECT_DOUBLE_EQ(all.delta_loss.mean, 5);
  const double margin = std::hypot(0.5 * 0.1, 0.5 * 0.1);
  EXPECT_NEAR(all.metrics[0].interval.low, 5 - margin, 1e-12);
  EXPECT_NEAR(all.metrics[0].interval.high, 5 + margin, 1e-12);
}

// Ten faults that meet ten images each and are all or none of a fault's trials: as ten trials.
TEST(CombinedGroup, RatesByFaultAreAsUncertainAsTheirParts) {
  GroupSummary one = group(100, 0, 0, 1), other = one;
  for (const auto& [part, events] : {std::pair{&one, 3}, {&other, 5}}) {
    ClusterCount count;
    for (int trial = 0; trial < 100; ++trial) count.add(trial / 10, trial / 10 < events);
    part->mismatch = count.proportion(0.99);
  }
  const std::vector<WeightedGroup> parts = {{1, &one}, {1, &other}};
  const Proportion all = combined(parts, {.layers = true}).mismatch;
  EXPECT_DOUBLE_EQ(all.rate, 0.4);
  EXPECT_STREQ(all.method, "stratified, by fault");
  const auto below = [](const Proportion& rate) { return rate.rate - rate.headline.low; };
  const auto above = [](const Proportion& rate) { return rate.headline.high - rate.rate; };
  EXPECT_DOUBLE_EQ(below(all), std::hypot(below(one.mismatch), below(other.mismatch)) / 2);
  EXPECT_DOUBLE_EQ(above(all), std::hypot(above(one.mismatch), above(other.mismatch)) / 2);
  EXPECT_GT(above(all), 0.25);  // of 200 trials it would be 0.09
}

TEST(CombinedGroup, ClippedMeansEndAtTheClip) {
  GroupSummary one = group(1, 1, 0, 10);
  one.delta_loss.clipped_interval = {NAN, NAN};
  const GroupSummary other = group(100, 10, 60, 0.5);
  const std::vector<WeightedGroup> parts = {{1, &one}, {1, &other}};
  EXPECT_TRUE(std::isinf(combined(parts, {0.99}).delta_loss.clipped_interval.high));
  EXPECT_LE(combined(parts, {0.99, 10}).delta_loss.clipped_interval.high, 10);
}

}  // namespace
}  // namespace bitfall::combined_group_test
