#include "bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace bitfall::bootstrap_test {
namespace {

TEST(Bootstrap, DrawsEveryUnitAlikeAndTheSameAtEveryRun) {
  constexpr std::size_t kUnits = 7;
  constexpr int kDraws = 7000;
  std::vector<int> counts(kUnits);
  std::vector<std::size_t> first, again;
  Bootstrap one(3), two(3);
  for (int r = 0; r < kDraws; ++r) {
    one.draw(kUnits, [&](std::size_t i) {
      ++counts.at(i);
      first.push_back(i);
    });
    two.draw(kUnits, [&](std::size_t i) { again.push_back(i); });
  }
  EXPECT_EQ(first, again);
  // Binomial(49000, 1/7): mean 7000, standard deviation 77.5.
  for (const int count : counts) EXPECT_NEAR(count, kDraws, 5 * 77.5);
  std::vector<std::size_t> other;
  Bootstrap(4).draw(100, [&](std::size_t i) { other.push_back(i); });
  std::vector<std::size_t> same;
  Bootstrap(3).draw(100, [&](std::size_t i) { same.push_back(i); });
  EXPECT_NE(other, same);
}

// Of 1000 units five make nearly all of the sum: these are drawn by themselves, as often as when
// all are, and every resample has as many units as the sample.
TEST(UnitChoice, DrawsThoseThatMatterAsOftenAsBefore) {
  std::vector<double> shares(1000, 5e-7);
  for (std::size_t i = 0; i < 1000; i += 200) shares[i] = 0.1999;
  const UnitChoice choice(shares);
  EXPECT_EQ(choice.apart(), (std::vector<std::size_t>{0, 200, 400, 600, 800}));
  EXPECT_EQ(choice.alike().size(), 995u);
  Bootstrap bootstrap(1);
  constexpr int kDraws = 20000;
  std::vector<int> counts(1000);
  double squares = 0;
  for (int r = 0; r < kDraws; ++r) {
    std::size_t apart = 0;
    const std::size_t alike = bootstrap.draw(choice, [&](std::size_t i) {
      ++counts[i];
      ++apart;
    });
    ASSERT_EQ(apart + alike, 1000u);
    squares += static_cast<double>(apart * apart);
  }
  // Binomial(1000, 1/1000) each, and (1000, 5/1000) together: E X^2 = 4.975 + 25.
  for (const std::size_t i : choice.apart()) EXPECT_NEAR(counts[i], kDraws, 5 * std::sqrt(kDraws));
  EXPECT_NEAR(squares / kDraws, 29.975, 5 * 25 / std::sqrt(kDraws));
}

TEST(UnitChoice, TakesNoneTogetherWhereAllMatter) {
  EXPECT_TRUE(UnitChoice(std::vector<double>(500, 0.002)).alike().empty());
  EXPECT_TRUE(UnitChoice(std::vector<double>(10, 0)).alike().empty());  // too few
  EXPECT_EQ(UnitChoice(std::vector<double>(500, 0)).apart().size(), 0u);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(UnitChoice(std::vector<double>(500, nan)).alike().empty());
}

TEST(PercentileInterval, HoldsTheMiddleOfTheReplicates) {
  std::vector<double> replicates;
  for (int i = 1000; i >= 0; --i) replicates.push_back(i);
  EXPECT_EQ(percentile_interval(replicates, 0.95).low, 25);
  EXPECT_EQ(percentile_interval(replicates, 0.95).high, 975);
  replicates.push_back(std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(percentile_interval(replicates, 0.95).low, 25);
  replicates.assign(10, std::numeric_limits<double>::infinity());
  EXPECT_EQ(percentile_interval(replicates, 0.95).high, std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(percentile_interval({}, 0.95).low));
}

// The ratio of the means of pairs that share a part: of 200 experiments the interval must hold the
// true ratio about as often as it says. The percentile interval of 100 pairs is known to fall a
// little short.
TEST(PercentileInterval, CoversTheRatioOfPairedMeans) {
  constexpr int kExperiments = 200;
  constexpr std::size_t kPairs = 100;
  constexpr double kConfidence = 0.9;
  std::mt19937_64 random(11);
  std::exponential_distribution<double> loss(1);
  int covered = 0;
  for (int experiment = 0; experiment < kExperiments; ++experiment) {
    std::vector<std::pair<double, double>> pairs(kPairs);
    for (auto& [before, after] : pairs) {
      before = loss(random);
      after = 0.3 * before + 0.2 * loss(random);  // mean 0.5
    }
    std::vector<double> replicates;
    Bootstrap bootstrap(static_cast<std::uint64_t>(experiment));
    for (int r = 0; r < kResamples; ++r) {
      double before = 0, after = 0;
      bootstrap.draw(kPairs, [&](std::size_t i) {
        before += pairs[i].first;
        after += pairs[i].second;
      });
      replicates.push_back(before / after);
    }
    const Interval interval = percentile_interval(std::move(replicates), kConfidence);
    covered += interval.low <= 2 && 2 <= interval.high;
  }
  const double sigma = std::sqrt(kExperiments * kConfidence * (1 - kConfidence));
  EXPECT_NEAR(covered, kExperiments * kConfidence, 5 * sigma);
}

}  // namespace
}  // namespace bitfall::bootstrap_test
