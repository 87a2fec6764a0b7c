#include "loss_sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace bitfall::loss_sample_test {
namespace {

constexpr double kClip = 10;
const double kInfinite = std::numeric_limits<double>::infinity();

// What the trials say, counted naively.
struct Naive {
  std::vector<double> deltas, faults, clipped;

  static double percentile(std::vector<double> values, double q) {
    std::sort(values.begin(), values.end());
    const double place = q * static_cast<double>(values.size() - 1);
    const auto low = static_cast<std::size_t>(place);
    const double next = values[std::min(low + 1, values.size() - 1)];
    return std::lerp(values[low], next, place - std::floor(place));
  }
  static std::int64_t half(std::vector<double> parts) {
    std::sort(parts.rbegin(), parts.rend());
    double sum = 0, reached = 0;
    for (const double part : parts) sum += part;
    std::int64_t count = 0;
    for (; reached < sum / 2; ++count) reached += parts[static_cast<std::size_t>(count)];
    return count;
  }
  static double effective(const std::vector<double>& parts) {
    double sum = 0, squares = 0;
    for (const double part : parts) sum += part, squares += part * part;
    return sum * sum / squares;
  }
};

// Some faults hit one image, others ten. Of the changes a third are 0, some infinite.
void add_faults(LossSample& sample, Naive& naive, std::int64_t faults, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::lognormal_distribution<double> change(0, 2);
  for (std::int64_t fault = 0; fault < faults; ++fault) {
    const bool shared = fault % 4 == 0;
    double sum = 0, clipped = 0;
    for (int image = 0; image < (shared ? 10 : 1); ++image) {
      const auto kind = random() % 30;
      const double delta = kind < 10 ? 0 : kind == 10 ? kInfinite : change(random);
      const double cut = std::min(delta, kClip);
      sample.add(fault, shared, delta, cut);
      if (std::isfinite(delta)) naive.deltas.push_back(delta), sum += delta;
      clipped += cut;
    }
    naive.faults.push_back(sum);
    naive.clipped.push_back(clipped);
  }
}

void expect_as(LossSample& sample, const Naive& naive, double relative) {
  const LossSample::Spread spread = sample.spread(kClip);
  EXPECT_EQ(spread.finite, static_cast<std::int64_t>(naive.deltas.size()));
  EXPECT_EQ(spread.changing, std::count_if(naive.deltas.begin(), naive.deltas.end(),
                                           [](double delta) { return delta > 0; }));
  const auto near = [&](double found, double expected) {
    EXPECT_NEAR(found, expected, relative * expected);
  };
  near(spread.median, Naive::percentile(naive.deltas, 0.5));
  near(spread.p99, Naive::percentile(naive.deltas, 0.99));
  EXPECT_EQ(spread.maximum, *std::max_element(naive.deltas.begin(), naive.deltas.end()));
  near(spread.carried.effective, Naive::effective(naive.faults));
  near(spread.clipped_carried.effective, Naive::effective(naive.clipped));
  near(static_cast<double>(spread.carried.half), static_cast<double>(Naive::half(naive.faults)));
  near(static_cast<double>(spread.clipped_carried.half),
       static_cast<double>(Naive::half(naive.clipped)));
}

TEST(LossSample, IsExactOfFewTrials) {
  LossSample sample;
  Naive naive;
  add_faults(sample, naive, 3000, 1);
  expect_as(sample, naive, 1e-9);
}

TEST(LossSample, IsNearOfMany) {
  LossSample sample;
  Naive naive;
  add_faults(sample, naive, 100'000, 2);
  expect_as(sample, naive, 1e-3);
}

TEST(LossSample, CollectsItsParts) {
  LossSample whole, first, second;
  whole.keep_nothing();
  Naive naive;
  for (const auto& [part, faults, seed] : {std::tuple{&first, 500, 3}, {&second, 60'000, 4}}) {
    add_faults(*part, naive, faults, static_cast<std::uint64_t>(seed));
    Naive again;
    add_faults(whole, again, faults, static_cast<std::uint64_t>(seed));
  }
  whole.collect(first);
  whole.collect(second);
  expect_as(whole, naive, 1e-3);
}

TEST(LossSample, OfNothingKnowsNothing) {
  LossSample none, infinite;
  EXPECT_TRUE(std::isnan(none.spread(kClip).median));
  infinite.add(0, false, kInfinite, kClip);
  const LossSample::Spread spread = infinite.spread(kClip);
  EXPECT_TRUE(std::isnan(spread.maximum));
  EXPECT_EQ(spread.clipped_carried.half, 1);
  EXPECT_EQ(spread.carried.half, 0);
}

}  // namespace
}  // namespace bitfall::loss_sample_test
