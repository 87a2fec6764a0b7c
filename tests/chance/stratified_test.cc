#include "stratified.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace bitfall::stratified_test {
namespace {

/// Layers by bits as single flips in FP32 have them: a mantissa of most of the bits that next to
/// never matters, a sign, exponent bits of which the highest matter most. Rates by layer and part.
struct Population {
  std::vector<double> weights, rates;
  std::vector<std::size_t> alike;

  explicit Population(double scale) {
    constexpr double kRates[] = {0.00002, 0.0005, 0.001, 0.004, 0.01, 0.03, 0.05, 0.1, 0.35, 0.02};
    constexpr double kBits[] = {23, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    std::mt19937 random(5);
    double sum = 0;
    for (int layer = 0; layer < 20; ++layer) {
      const double size = std::exp(std::uniform_real_distribution(0.0, 3.0)(random));
      const double factor = std::exp(std::uniform_real_distribution(-1.5, 1.0)(random));
      for (std::size_t part = 0; part < std::size(kRates); ++part) {
        weights.push_back(size * kBits[part]);
        sum += weights.back();
        rates.push_back(std::min(0.97, scale * factor * kRates[part]));
        alike.push_back(part);
      }
    }
    for (double& weight : weights) weight /= sum;
  }

  double rate() const {
    double sum = 0;
    for (std::size_t i = 0; i < rates.size(); ++i) sum += weights[i] * rates[i];
    return sum;
  }
};

/// A campaign on the population, as `run` has it.
struct Sampled {
  std::vector<SampledStratum> since;  // the pilot
  std::int64_t trials = 0;
  WeightedSum rate;

  Sampled(const Population& population, const SamplingGoal& goal, std::mt19937_64& random) {
    for (std::size_t i = 0; i < population.rates.size(); ++i) {
      since.push_back({population.weights[i], 0, 0, population.alike[i]});
    }
    std::vector<SampledStratum> pilot = since;
    const auto draw = [&](std::vector<SampledStratum>& strata, std::size_t i, std::int64_t more) {
      std::binomial_distribution<std::int64_t> events(more, population.rates[i]);
      strata[i].events += events(random);
      strata[i].trials += more;
      trials += more;
    };
    for (std::size_t i = 0; i < pilot.size(); ++i) {
      draw(pilot, i, pilot_trials(goal, static_cast<double>(pilot.size())));
    }
    for (auto round = next_round(pilot, since, goal); !round.empty();
         round = next_round(pilot, since, goal)) {
      for (std::size_t i = 0; i < since.size(); ++i) draw(since, i, round[i]);
    }
    rate = stratified_rate(since, goal.confidence);
  }
};

struct Outcome {
  double covered = 0, bias = 0, trials = 0, gain = 0;  // bias in standard errors of the mean
  bool narrow = true;
};

Outcome simulate(const Population& population, double halfwidth, int runs) {
  std::mt19937_64 random(11);
  const double truth = population.rate();
  double sum = 0, squared = 0;
  Outcome outcome;
  for (int run = 0; run < runs; ++run) {
    const Sampled sampled(population, {halfwidth, 0.99, 100'000'000}, random);
    outcome.covered += sampled.rate.interval.low <= truth && truth <= sampled.rate.interval.high;
    outcome.narrow &= half_width(sampled.rate) <= halfwidth;
    outcome.trials += static_cast<double>(sampled.trials);
    sum += sampled.rate.value - truth;
    squared += std::pow(sampled.rate.value - truth, 2);
  }
  outcome.covered /= runs;
  outcome.trials /= runs;
  const double mean = sum / runs;
  outcome.bias = mean / std::sqrt((squared / runs - mean * mean) / runs);
  outcome.gain = simple_trials(truth, halfwidth, 0.99) / outcome.trials;
  return outcome;
}

TEST(Stratified, ReachesTheGoalWithoutBiasAndCoversTheTruth) {
  for (const double scale : {0.3, 1.0, 2.5}) {
    for (const double halfwidth : {0.005, 0.002, 0.001}) {
      const Outcome outcome = simulate(Population(scale), halfwidth, 400);
      SCOPED_TRACE(std::to_string(scale) + " " + std::to_string(halfwidth));
      EXPECT_TRUE(outcome.narrow);
      EXPECT_GE(outcome.covered, 0.975);
      EXPECT_LT(std::abs(outcome.bias), 4);
    }
  }
  EXPECT_GT(simulate(Population(2.5), 0.0005, 50).gain, 5);
}

// Where nothing is to be gained, a pilot's noise does not decide.
TEST(Stratified, LowRatesOfOneKindTakeHardlyMoreThanDrawingAlike) {
  Population low(1);
  for (double& rate : low.rates) rate = 0.003;
  const Outcome outcome = simulate(low, 0.0005, 60);
  EXPECT_TRUE(outcome.narrow);
  EXPECT_GE(outcome.covered, 0.95);
  EXPECT_GT(outcome.gain, 0.75);
}

TEST(Stratified, ARateIsTheWeightedOneWhateverTheTrials) {
  const std::vector<SampledStratum> strata = {{0.5, 10, 0, 0}, {0.3, 1000, 250, 1}, {0.2, 8, 8, 2}};
  const WeightedSum rate = stratified_rate(strata, 0.99);
  EXPECT_DOUBLE_EQ(rate.value, 0.3 * 0.25 + 0.2);
  EXPECT_GT(rate.interval.low, 0);
  EXPECT_LT(rate.interval.low, rate.value);
  EXPECT_GT(rate.interval.high, rate.value);
  EXPECT_TRUE(std::isnan(stratified_rate({}, 0.99).value));
  const std::vector<SampledStratum> undrawn = {{1, 0, 0, 0}};
  EXPECT_TRUE(std::isnan(stratified_rate(undrawn, 0.99).value));
}

// Against the exact interval of one sample of them all.
TEST(Stratified, StrataWithoutEventsDrawnAlikeAreAsOne) {
  const std::vector<SampledStratum> strata(50, {0.02, 20, 0, 0});
  const Interval one = clopper_pearson(0, 1000, 0.99);
  const Interval many = stratified_rate(strata, 0.99).interval;
  EXPECT_EQ(many.low, 0);
  EXPECT_NEAR(many.high, one.high, 0.01 * one.high);
  const std::vector<SampledStratum> always(50, {0.02, 20, 20, 0});
  EXPECT_NEAR(stratified_rate(always, 0.99).interval.low, 1 - many.high, 1e-12);
}

TEST(Stratified, StopsAtTheMaximum) {
  const std::vector<SampledStratum> pilot(10, {0.1, 16, 4, 0});
  std::vector<SampledStratum> since(10, {0.1, 0, 0, 0});
  const SamplingGoal goal{0.0001, 0.99, 1000};
  const auto round = next_round(pilot, since, goal);
  ASSERT_EQ(round.size(), 10U);
  std::int64_t all = 160;
  for (std::size_t i = 0; i < round.size(); ++i) {
    EXPECT_GE(round[i], 1);
    all += since[i].trials = round[i];
    since[i].events = round[i] / 4;
  }
  EXPECT_LE(all, 1000);
  EXPECT_GT(all, 980);
  EXPECT_TRUE(next_round(pilot, since, {0.0001, 0.99, all}).empty());
}

TEST(Stratified, SimpleTrialsHaveTheHalfWidth) {
  for (const double rate : {0.0, 0.03, 0.5}) {
    const double n = simple_trials(rate, 0.01, 0.99);
    const auto width = [&](double trials) {
      const auto count = static_cast<std::int64_t>(trials);
      const Interval i = wilson(std::llround(rate * trials), count, 0.99);
      return (i.high - i.low) / 2;
    };
    EXPECT_NEAR(width(n), 0.01, 0.0002);
  }
}

}  // namespace
}  // namespace bitfall::stratified_test
