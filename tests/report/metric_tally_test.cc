// By hand, and by the textbook's formula over faults.
#include "metric_tally.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace bitfall::metric_tally_test {
namespace {

const StoredColumn kQuantity{"gap", "top2diff", ColumnKind::kQuantity, "probability"};
const StoredColumn kEvent{"flipped", "mismatch", ColumnKind::kEvent, "1"};
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// NumPy: numpy.std([1, 2, 4], ddof=1) / 3**0.5 * scipy.stats.t.ppf(0.995, 2)
TEST(MetricTally, MeanOfIndependentTrials) {
  MetricTally tally(kQuantity);
  std::int64_t trial = 0;
  for (const double value : {1.0, 2.0, 4.0}) tally.add(trial++, true, value);
  const MetricSummary summary = tally.finish(0.99);
  EXPECT_EQ(summary.column, "gap");
  EXPECT_FALSE(summary.event);
  EXPECT_DOUBLE_EQ(summary.mean, 7.0 / 3);
  EXPECT_NEAR(summary.interval.high - summary.mean, 8.752889, 1e-5);
  EXPECT_NEAR(summary.mean - summary.interval.low, 8.752889, 1e-5);
  EXPECT_EQ(summary.maximum, 4);
}

// Two faults, of two trials and of one: totals 2 and 3, their distance from the mean of 5/3 a trial
// 4/3 each, so a variance of 2 x (16/9) / 9 x 2/1; Student's t of one degree of freedom.
TEST(MetricTally, MeanOfSharedFaults) {
  MetricTally tally(kQuantity);
  tally.add(0, true, 0.5);
  tally.add(0, true, 1.5);
  tally.add(7, true, 3.0);
  const MetricSummary summary = tally.finish(0.95);
  EXPECT_DOUBLE_EQ(summary.mean, 5.0 / 3);
  EXPECT_NEAR(summary.interval.high - summary.mean, 12.706205 * std::sqrt(64.0 / 81), 1e-5);
}

// Draws of a normal distribution; by the normal quantile 61 % of the intervals of two hold, 88 % of
// those of five.
TEST(MetricTally, CoversTheMeanOfAFewTrials) {
  std::mt19937_64 random(9);
  std::normal_distribution<double> draw(3, 2);
  constexpr int kRounds = 4000;
  for (const int trials : {2, 5}) {
    int held = 0;
    for (int round = 0; round < kRounds; ++round) {
      MetricTally tally(kQuantity);
      for (int trial = 0; trial < trials; ++trial) tally.add(trial, true, draw(random));
      const Interval interval = tally.finish(0.95).interval;
      held += interval.low <= 3 && 3 <= interval.high;
    }
    EXPECT_NEAR(held, 0.95 * kRounds, 5 * std::sqrt(0.95 * 0.05 * kRounds)) << trials;
  }
}

TEST(MetricTally, AFewEqualValuesSayNothingOfOthers) {
  MetricTally tally(kQuantity);
  for (std::int64_t trial = 0; trial < kEqualDraws; ++trial) {
    if (trial > 1) {
      const Interval open = tally.finish(0.99).interval;
      EXPECT_EQ(open.low, -kInfinity);
      EXPECT_EQ(open.high, kInfinity);
    }
    tally.add(trial, true, 0.1);  // of which sums of squares are rounded
  }
  const MetricSummary summary = tally.finish(0.99);
  EXPECT_EQ(summary.interval.low, summary.mean);
  EXPECT_EQ(summary.interval.high, summary.mean);
}

TEST(MetricTally, CountsWhatIsNoNumber) {
  MetricTally tally(kQuantity);
  tally.add(0, true, std::nan(""));
  tally.add(1, true, -kInfinity);
  tally.add(2, false, 5);
  MetricSummary summary = tally.finish(0.99);
  EXPECT_EQ(summary.trials, 3);
  EXPECT_EQ(summary.nonfinite, 2);
  EXPECT_EQ(summary.missing, 1);
  EXPECT_TRUE(std::isnan(summary.mean));
  EXPECT_TRUE(std::isnan(summary.maximum));
  tally.add(3, true, -2);
  summary = tally.finish(0.99);
  EXPECT_EQ(summary.mean, -2);
  EXPECT_TRUE(std::isnan(summary.interval.low)) << "one trial has no spread";
  EXPECT_EQ(metric_text(summary, 2), "-2");
}

/// A trial without an answer has no event, and is in the denominator.
TEST(MetricTally, RateOfAnEvent) {
  MetricTally tally(kEvent);
  for (std::int64_t trial = 0; trial < 10; ++trial) tally.add(trial, trial != 9, trial % 3 == 0);
  const MetricSummary summary = tally.finish(0.99);
  EXPECT_TRUE(summary.event);
  EXPECT_EQ(summary.rate.events, 3);
  EXPECT_EQ(summary.rate.trials, 10);
}

TEST(MetricTally, OfNoTrials) {
  EXPECT_TRUE(std::isnan(MetricTally(kQuantity).finish(0.99).mean));
  EXPECT_EQ(metric_text(MetricTally(kQuantity).finish(0.99), 2), "-");
  EXPECT_EQ(metric_text(MetricTally(kEvent).finish(0.99), 2), "-");
}

}  // namespace
}  // namespace bitfall::metric_tally_test
