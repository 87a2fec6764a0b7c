#include "mean_estimate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace bitfall::mean_estimate_test {
namespace {

std::vector<MeanUnit> units_of(const std::vector<double>& values) {
  std::vector<MeanUnit> units;
  for (const double value : values) units.push_back({value, 1});
  return units;
}

TEST(Concentration, CountsTheDrawsThatCarryAMean) {
  EXPECT_EQ(concentration({}).effective, 0);
  EXPECT_EQ(concentration(units_of({0, 0})).half, 0);
  const Concentration even = concentration(units_of(std::vector<double>(80, 0.5)));
  EXPECT_DOUBLE_EQ(even.effective, 80);
  EXPECT_EQ(even.half, 40);
  std::vector<double> one(1000, 1e-9);
  one[3] = 5;
  EXPECT_NEAR(concentration(units_of(one)).effective, 1, 1e-5);
  EXPECT_EQ(concentration(units_of(one)).half, 1);
  // 3 of 9 + 1 + ... : (9 + 7)^2 / (81 + 7) by hand.
  EXPECT_DOUBLE_EQ(concentration(units_of({9, 1, 1, 1, 1, 1, 1, 1})).effective, 256.0 / 88);
}

TEST(MeanEstimate, IsAMeanWithItsInterval) {
  const MeanEstimate estimate = estimate_mean(units_of({1, 2, 3, 6}), 0.99, 1);
  EXPECT_DOUBLE_EQ(estimate.mean, 3);
  EXPECT_LT(estimate.interval.low, 3);
  EXPECT_GT(estimate.interval.high, 3);
  EXPECT_GE(estimate.interval.low, 0);
  const MeanEstimate again = estimate_mean(units_of({1, 2, 3, 6}), 0.99, 1);
  EXPECT_EQ(again.interval.high, estimate.interval.high);
}

TEST(MeanEstimate, SaysWhereNothingIsKnown) {
  EXPECT_TRUE(std::isnan(estimate_mean({}, 0.99, 0).mean));
  EXPECT_TRUE(std::isnan(estimate_mean(std::vector<MeanUnit>{{0, 0}}, 0.99, 0).mean));
  EXPECT_TRUE(std::isnan(estimate_mean(units_of({3}), 0.99, 0).interval.low));
  EXPECT_TRUE(std::isnan(estimate_mean(units_of({0, 0, 0}), 0.99, 0).interval.high));
  // One draw of a hundred: resamples without it have no spread.
  std::vector<double> one(100, 0);
  one[5] = 1;
  EXPECT_TRUE(std::isinf(estimate_mean(units_of(one), 0.99, 0).interval.high));
}

// Of n draws that are all 2 the share of others is at most 1 - 0.005^(1/n) (Clopper and Pearson):
// 0.8290 of 3, 0.0516 of 100. They may be 0, or as much as there is.
TEST(MeanEstimate, OfEqualDrawsLeavesRoomForOthers) {
  const Interval open = estimate_mean(units_of({2, 2, 2}), 0.99, 0).interval;
  EXPECT_NEAR(open.low, 2 * 0.17099759466766973, 1e-9);
  EXPECT_TRUE(std::isinf(open.high));
  const std::vector<MeanUnit> many = units_of(std::vector<double>(100, 2));
  const Interval below_ten = estimate_mean(many, 0.99, 0, 10).interval;
  EXPECT_NEAR(below_ten.low, 2 * 0.948395970375896, 1e-9);
  EXPECT_NEAR(below_ten.high, 2 * 0.948395970375896 + 10 * (1 - 0.948395970375896), 1e-9);
  // What rounding leaves of a spread is none, nor do faults without a number count.
  std::vector<MeanUnit> tenths = units_of({0.1, 0.1, 0.1});
  tenths.push_back({0, 0});
  EXPECT_TRUE(std::isinf(estimate_mean(tenths, 0.99, 0).interval.high));
  EXPECT_NEAR(estimate_mean(tenths, 0.99, 0).interval.low, 0.1 * 0.17099759466766973, 1e-9);
}

TEST(MeanEstimate, IsAtMostTheLargestValue) {
  std::vector<double> values(30, 10);
  values[3] = 0;
  EXPECT_GT(estimate_mean(units_of(values), 0.99, 0).interval.high, 10);
  EXPECT_EQ(estimate_mean(units_of(values), 0.99, 0, 10).interval.high, 10);
}

TEST(MeanEstimate, OfNormalDrawsHasStudentsInterval) {
  // The order statistics' expected normal scores: mean 0 and an even spread, moved to 10.
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal(10, 2);
  std::vector<double> values(400);
  double sum = 0, squares = 0;
  for (double& value : values) value = normal(random), sum += value;
  for (const double value : values) squares += std::pow(value - sum / 400, 2);
  const double error = std::sqrt(squares / 399 / 400);
  const MeanEstimate estimate = estimate_mean(units_of(values), 0.99, 3);
  constexpr double kStudent = 2.588;  // 99.5 % of 399 degrees of freedom
  EXPECT_NEAR(estimate.interval.low, sum / 400 - kStudent * error, 0.25 * error);
  EXPECT_NEAR(estimate.interval.high, sum / 400 + kStudent * error, 0.25 * error);
}

TEST(MeanEstimate, CoversTheMeanOfASkewedPopulation) {
  // Exponential, 60 draws: at a nominal 95 % the percentile bootstrap holds less.
  std::mt19937_64 random(11);
  std::exponential_distribution<double> draw(1);
  int held = 0;
  constexpr int kRounds = 400;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<double> values(60);
    for (double& value : values) value = draw(random);
    const Interval interval =
        estimate_mean(units_of(values), 0.95, static_cast<std::uint64_t>(round)).interval;
    held += interval.low <= 1 && 1 <= interval.high;
  }
  // 95 % less 5 sigma of 400 rounds would be 89.6 %; the percentile bootstrap has 92.5 % here.
  EXPECT_GE(held, static_cast<int>(0.935 * kRounds));
}

// Log-normal with a standard deviation of 2.5: some draws of 4000 carry the mean. The ends are what
// counts, so they must not depend on which resamples were drawn, nor on that most units are taken
// by their number: against all of them drawn one by one, as many resamples.
TEST(MeanEstimate, OfAHeavyTailMovesLittleWithTheGenerator) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> draw(0, 2.5);
  std::vector<double> values(4000);
  for (double& value : values) value = draw(random);
  const std::vector<MeanUnit> units = units_of(values);
  const Interval first = estimate_mean(units, 0.99, 1).interval;
  for (const std::uint64_t stream : {2, 3, 4}) {
    const Interval other = estimate_mean(units, 0.99, stream).interval;
    EXPECT_LT(std::abs(std::log(other.low / first.low)), 0.12);
    EXPECT_LT(std::abs(std::log(other.high / first.high)), 0.12);
  }
}

TEST(MeanEstimate, OfFaultsThatMeetManyImagesIsByFault) {
  std::vector<MeanUnit> apart, together;
  for (int fault = 0; fault < 30; ++fault) {
    const double loss = fault % 3;
    for (int image = 0; image < 10; ++image) apart.push_back({loss, 1});
    together.push_back({10 * loss, 10});
  }
  const MeanEstimate trials = estimate_mean(apart, 0.95, 0),
                     faults = estimate_mean(together, 0.95, 0);
  EXPECT_DOUBLE_EQ(trials.mean, faults.mean);
  const auto width = [](const MeanEstimate& of) { return of.interval.high - of.interval.low; };
  EXPECT_NEAR(width(faults) / width(trials), std::sqrt(10.0), 0.6);
}

}  // namespace
}  // namespace bitfall::mean_estimate_test
