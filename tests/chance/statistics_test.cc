#include "statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/hypergeometric.hpp>
#include <cmath>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "error.h"

namespace bitfall::statistics_test {
namespace {

struct Vector {
  std::string kind;
  std::int64_t events = 0;
  std::int64_t trials = 0;
  double confidence = 0;
  Interval interval;
};

std::vector<Vector> vectors() {
  std::ifstream file(BITFALL_SOURCE_DIR "/tests/vectors/statistics_vectors.csv");
  std::vector<Vector> all;
  std::string line;
  while (std::getline(file, line)) {
    if (line.empty() || line[0] == '#' || line.rfind("kind,", 0) == 0) continue;
    std::istringstream fields(line);
    std::vector<std::string> f;
    for (std::string field; std::getline(fields, field, ',');) f.push_back(field);
    all.push_back({f.at(0),
                   std::stoll(f.at(1)),
                   std::stoll(f.at(2)),
                   std::stod(f.at(3)),
                   {std::stod(f.at(4)), std::stod(f.at(5))}});
  }
  return all;
}

// SciPy finds the Clopper-Pearson ends by Brent's method, to 2e-12 (its xtol).
void expect_close(double expected, double actual, const Vector& vector) {
  const double solver = vector.kind == "clopper-pearson" ? 4e-12 : 1e-18;
  EXPECT_NEAR(actual, expected, solver + 1e-11 * std::abs(expected))
      << vector.kind << " of " << vector.events << " in " << vector.trials << " at "
      << vector.confidence;
}

// The chance that an interval of n draws at rate p holds p, summed over every count.
template <typename IntervalOf>
double exact_coverage(std::int64_t n, double p, IntervalOf interval_of) {
  const boost::math::binomial_distribution<> binomial(static_cast<double>(n), p);
  double coverage = 0;
  for (std::int64_t k = 0; k <= n; ++k) {
    const Interval interval = interval_of(k);
    if (interval.low <= p && p <= interval.high) {
      coverage += boost::math::pdf(binomial, static_cast<double>(k));
    }
  }
  return coverage;
}

template <typename Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    return error.what();
  }
  return "no error";
}

TEST(Intervals, AgreeWithScipy) {
  const std::vector<Vector> all = vectors();
  ASSERT_EQ(all.size(), 294u);
  for (const Vector& vector : all) {
    Interval interval;
    if (vector.kind == "quantile") {
      const double quantile = normal_quantile(vector.confidence);
      interval = {-quantile, quantile};
    } else if (vector.kind == "wilson") {
      interval = wilson(vector.events, vector.trials, vector.confidence);
    } else {
      ASSERT_EQ(vector.kind, "clopper-pearson");
      interval = clopper_pearson(vector.events, vector.trials, vector.confidence);
    }
    expect_close(vector.interval.low, interval.low, vector);
    expect_close(vector.interval.high, interval.high, vector);
  }
}

TEST(Intervals, OfNoEventsInTheLargeCampaign) {
  // 0 of 4096 at 99 %: upper bounds 0.129 % and 0.162 % (research table).
  EXPECT_NEAR(clopper_pearson(0, 4096, 0.99).high, 0.00129, 5e-6);
  EXPECT_NEAR(wilson(0, 4096, 0.99).high, 0.00162, 5e-6);
}

TEST(Intervals, CoverWhatTheyPromise) {
  struct Row {
    std::int64_t n;
    double p, wilson, clopper_pearson;
  };
  // Exact coverage of nominal 99 % intervals, computed independently (research table, to 0.1 %).
  for (const Row& row : {Row{1024, 1e-4, 0.903, 0.995}, Row{1024, 1e-3, 0.980, 0.996},
                         Row{4096, 1e-4, 0.992, 0.999}, Row{4096, 1e-3, 0.991, 0.997},
                         Row{4096, 1e-2, 0.991, 0.991}, Row{16587, 1e-4, 0.973, 0.998}}) {
    EXPECT_NEAR(exact_coverage(row.n, row.p, [&](auto k) { return wilson(k, row.n, 0.99); }),
                row.wilson, 0.0006);
    EXPECT_NEAR(
        exact_coverage(row.n, row.p, [&](auto k) { return clopper_pearson(k, row.n, 0.99); }),
        row.clopper_pearson, 0.0006);
  }
}

TEST(Intervals, HeadlineCoversInSimulatedCampaigns) {
  std::mt19937_64 generator(20231210);
  constexpr int kCampaigns = 4000;
  for (const double p : {0.0003, 0.002, 0.05, 0.5, 0.999}) {
    std::binomial_distribution<std::int64_t> binomial(4096, p);
    int covered = 0;
    for (int i = 0; i < kCampaigns; ++i) {
      const Interval interval = proportion(binomial(generator), 4096, 0.99).headline;
      covered += interval.low <= p && p <= interval.high;
    }
    const double exact =
        exact_coverage(4096, p, [](auto k) { return proportion(k, 4096, 0.99).headline; });
    const double sigma = std::sqrt(exact * (1 - exact) / kCampaigns);
    EXPECT_NEAR(covered / static_cast<double>(kCampaigns), exact, 5 * sigma) << p;
    EXPECT_GT(exact, 0.985) << p;
  }
}

TEST(Intervals, OfFinitePopulationsCoverAndAreNarrower) {
  constexpr unsigned kPopulation = 1000, kDrawn = 400;
  for (const unsigned events : {50u, 200u, 500u}) {
    const boost::math::hypergeometric_distribution<> draw(events, kDrawn, kPopulation);
    const double p = events / static_cast<double>(kPopulation);
    double corrected = 0, plain = 0;
    for (unsigned k = 0; k <= std::min(events, kDrawn); ++k) {
      if (k + kPopulation < kDrawn + events) continue;
      const Interval narrow = wilson(k, kDrawn, 0.99, kPopulation);
      const Interval wide = wilson(k, kDrawn, 0.99);
      EXPECT_LT(narrow.high - narrow.low, wide.high - wide.low);
      corrected += narrow.low <= p && p <= narrow.high ? pdf(draw, k) : 0;
      plain += wide.low <= p && p <= wide.high ? pdf(draw, k) : 0;
    }
    EXPECT_NEAR(corrected, 0.99, 0.004) << events;
    EXPECT_GT(plain, 0.998) << events;  // needlessly wide: why the correction is there
  }
}

TEST(Intervals, CorrectOnlyAboveFivePercentOfThePopulation) {
  EXPECT_EQ(wilson(7, 50, 0.99, 1000).high, wilson(7, 50, 0.99).high);
  EXPECT_LT(wilson(7, 51, 0.99, 1000).high, wilson(7, 51, 0.99).high);
  const Interval census = wilson(7, 1000, 0.99, 1000);
  EXPECT_EQ(census.low, 0.007);
  EXPECT_EQ(census.high, 0.007);
}

TEST(Proportion, UsesClopperPearsonForFewEventsOrFewOthers) {
  EXPECT_STREQ(proportion(4, 4096, 0.99).method, "clopper-pearson");
  EXPECT_STREQ(proportion(5, 4096, 0.99).method, "wilson");
  EXPECT_STREQ(proportion(4091, 4096, 0.99).method, "wilson");
  EXPECT_STREQ(proportion(4092, 4096, 0.99).method, "clopper-pearson");
  const Proportion p = proportion(4, 4096, 0.99);
  EXPECT_EQ(p.rate, 4 / 4096.0);
  EXPECT_EQ(p.headline.high, p.clopper_pearson.high);
  EXPECT_NE(p.headline.high, p.wilson.high);
}

TEST(Proportion, OfNoTrialsSaysNothing) {
  const Proportion p = proportion(0, 0, 0.99);
  EXPECT_TRUE(std::isnan(p.rate));
  EXPECT_EQ(p.headline.low, 0);
  EXPECT_EQ(p.headline.high, 1);
}

TEST(ClusterCount, WithoutSharedFaultsIsTheProportion) {
  ClusterCount count;
  for (int i = 0; i < 200; ++i) count.add(i, i % 5 == 0);
  const Proportion mine = count.proportion(0.99), plain = proportion(40, 200, 0.99);
  EXPECT_EQ(mine.wilson.low, plain.wilson.low);
  EXPECT_EQ(mine.wilson.high, plain.wilson.high);
  EXPECT_STREQ(mine.method, "wilson");
}

TEST(ClusterCount, FaultsThatAlwaysActAlikeCountOnce) {
  ClusterCount count;
  for (int fault = 0; fault < 200; ++fault) {
    for (int image = 0; image < 50; ++image) count.add(fault, fault % 5 == 0);
  }
  const Proportion mine = count.proportion(0.99), faults = proportion(40, 200, 0.99);
  EXPECT_EQ(mine.events, 2000);
  EXPECT_EQ(mine.trials, 10000);
  EXPECT_NEAR(mine.wilson.low, faults.wilson.low, 1e-3);  // C / (C - 1)
  EXPECT_NEAR(mine.wilson.high, faults.wilson.high, 1e-3);
  ClusterCount none;
  for (int i = 0; i < 1000; ++i) none.add(i / 50, false);
  EXPECT_NEAR(none.proportion(0.99).headline.high, proportion(0, 20, 0.99).headline.high, 1e-12);
}

// Each fault has a rate of its own; the interval of the mean rate must cover it.
TEST(ClusterCount, CoversWhereFaultsDiffer) {
  std::mt19937_64 random(7);
  const auto uniform = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  int covered = 0, naive = 0;
  constexpr int kCampaigns = 2000;
  for (int campaign = 0; campaign < kCampaigns; ++campaign) {
    ClusterCount count;
    for (int fault = 0; fault < 150; ++fault) {
      const double rate = uniform() < 0.25 ? 0.8 : 0.0;  // mean 0.2
      for (int image = 0; image < 20; ++image) count.add(fault, uniform() < rate);
    }
    const Proportion mine = count.proportion(0.95);
    covered += mine.headline.low <= 0.2 && 0.2 <= mine.headline.high;
    const Interval plain = wilson(mine.events, mine.trials, 0.95);
    naive += plain.low <= 0.2 && 0.2 <= plain.high;
  }
  // 5 sigma of 0.95 over 2000 campaigns is 0.024.
  EXPECT_GT(covered, (0.95 - 0.024) * kCampaigns);
  EXPECT_LT(naive, 0.7 * kCampaigns) << "counting trials as independent should not cover";
}

TEST(SampleSize, IsThatOfThePublishedTable) {
  const double margins[] = {0.05, 0.03, 0.02, 0.01, 0.005, 0.001};
  struct Row {
    double confidence;
    std::int64_t sizes[6];
  };
  // Leveugle et al., DATE 2009, for an infinite population and p = 0.5.
  for (const Row& row : {Row{0.95, {385, 1068, 2401, 9604, 38415, 960365}},
                         Row{0.99, {664, 1844, 4147, 16588, 66349, 1658724}},
                         Row{0.998, {955, 2653, 5969, 23874, 95494, 2387335}}}) {
    for (int i = 0; i < 6; ++i) {
      // The table was made with t rounded to five digits (3.0902), and rounds where we round up.
      const auto size = static_cast<double>(row.sizes[i]);
      EXPECT_NEAR(static_cast<double>(sample_size(margins[i], row.confidence, 0.5, 0)), size,
                  std::max(1.0, 2.5e-5 * size))
          << row.confidence << " " << margins[i];
    }
  }
}

TEST(SampleSize, OfFinitePopulations) {
  // Exactly, for an infinite population: 1.959963984540054^2 / 4 / 0.01^2 = 9603.647.
  EXPECT_EQ(sample_size(0.01, 0.95, 0.5, 0), 9604);
  EXPECT_EQ(sample_size(0.05, 0.95, 0.5, 0), 385);
  // n0 / (1 + (n0 - 1) / N) with n0 = 9603.647 (95 %, 1 %): the same formula in its other form.
  EXPECT_EQ(sample_size(0.01, 0.95, 0.5, 1000), 906);
  EXPECT_EQ(sample_size(0.01, 0.95, 0.5, 1e18), 9604);
  EXPECT_EQ(sample_size(0.01, 0.95, 0.5, 1), 1);
  for (const double population : {1.0, 2.0, 10.0, 12345.0}) {
    EXPECT_LE(sample_size(1e-9, 0.99, 0.5, population), population);
  }
  EXPECT_EQ(sample_size(1e-300, 0.99, 0.5, 0), std::numeric_limits<std::int64_t>::max());
}

TEST(HalfWidth, OfTheUsualCampaign) {
  // 4096 injections at 99 % (research table).
  EXPECT_NEAR(half_width(4096, 0.99, 0.5, 0), 0.0201, 5e-5);
  EXPECT_NEAR(half_width(4096, 0.99, 0.1, 0), 0.0121, 5e-5);
  EXPECT_NEAR(half_width(4096, 0.99, 0.01, 0), 0.0040, 5e-5);
  EXPECT_NEAR(half_width(4096, 0.99, 0.0033, 0), 0.0023, 5e-5);
  EXPECT_NEAR(half_width(4096, 0.99, 0.001, 0), 0.0013, 5e-5);
  EXPECT_EQ(half_width(1000, 0.99, 0.5, 1000), 0);
  EXPECT_TRUE(std::isinf(half_width(0, 0.99, 0.5, 0)));
}

TEST(HalfWidth, UndoesSampleSize) {
  for (const double population : {0.0, 5e4, 1e9}) {
    for (const double p : {0.01, 0.3, 0.5}) {
      for (const double margin : {0.02, 0.005}) {
        const std::int64_t n = sample_size(margin, 0.99, p, population);
        EXPECT_LE(half_width(n, 0.99, p, population), margin * (1 + 1e-12));
        EXPECT_GT(half_width(n - 1, 0.99, p, population), margin);
      }
    }
  }
}

TEST(Statistics, RefuseWhatHasNoMeaning) {
  EXPECT_NE(message_of([] { normal_quantile(1); }).find("confidence is 1.000000"),
            std::string::npos);
  EXPECT_NE(message_of([] { wilson(1, 2, 0); }).find("such as 0.99"), std::string::npos);
  EXPECT_NE(message_of([] { sample_size(0, 0.99, 0.5, 0); }).find("margin"), std::string::npos);
  EXPECT_NE(message_of([] { sample_size(0.1, 0.99, 1, 0); }).find("rate"), std::string::npos);
  EXPECT_NE(message_of([] { half_width(5, std::nan(""), 0.5, 0); }).find("confidence"),
            std::string::npos);
}

// 2 sum_{k <= min} C(n, k) / 2^n in Python's fractions:
// from fractions import Fraction; from math import comb
// float(min(1, 2 * Fraction(sum(comb(b + c, k) for k in range(min(b, c) + 1)), 2 ** (b + c))))
// A difference of two proportions is the sum of the first and of the second's complement, less 1.
TEST(WeightedSum, OfADifferenceIsNewcombesInterval) {
  struct Case {
    std::int64_t events[2], trials[2];
    double low, high;
  };
  // Newcombe, Statistics in Medicine 17 (1998) 873, table II, method 10.
  for (const Case& test :
       {Case{{56, 48}, {70, 80}, 0.0524, 0.3339}, Case{{9, 3}, {10, 10}, 0.1705, 0.8090},
        Case{{5, 0}, {56, 29}, -0.0381, 0.1926}, Case{{0, 0}, {10, 20}, -0.1611, 0.2775}}) {
    const Interval first = wilson(test.events[0], test.trials[0], 0.95);
    const Interval second = wilson(test.trials[1] - test.events[1], test.trials[1], 0.95);
    const auto share = [&](int i) {
      return static_cast<double>(test.events[i]) / static_cast<double>(test.trials[i]);
    };
    const WeightedTerm terms[] = {{1, share(0), first}, {1, 1 - share(1), second}};
    const WeightedSum sum = weighted_sum(terms);
    EXPECT_NEAR(sum.value - 1, share(0) - share(1), 1e-12);
    EXPECT_NEAR(sum.interval.low - 1, test.low, 6e-5);
    EXPECT_NEAR(sum.interval.high - 1, test.high, 6e-5);
  }
}

TEST(WeightedSum, ScalesWithItsWeights) {
  const WeightedTerm one = {3, 0.5, {0.25, 0.75}};
  const WeightedSum sum = weighted_sum(std::span(&one, 1));
  EXPECT_DOUBLE_EQ(sum.value, 1.5);
  EXPECT_DOUBLE_EQ(sum.interval.low, 0.75);
  EXPECT_DOUBLE_EQ(sum.interval.high, 2.25);
  EXPECT_TRUE(std::isnan(weighted_sum({}).value));
}

// SciPy: stats.t.isf((1 - confidence) / 2, degrees).
TEST(StudentQuantile, IsThatOfSciPy) {
  EXPECT_NEAR(student_quantile(0.95, 1), 12.706204736174694, 1e-9);
  EXPECT_NEAR(student_quantile(0.99, 1), 63.656741162871526, 1e-9);
  EXPECT_NEAR(student_quantile(0.9, 4), 2.131846786326651, 1e-9);
  EXPECT_NEAR(student_quantile(0.999, 29), 3.659405019466332, 1e-9);
  EXPECT_NEAR(student_quantile(0.99, 1e6), 2.5758342201053344, 1e-9);
}

TEST(McNemar, IsTheExactBinomialTest) {
  struct Case {
    std::int64_t b, c;
    double p;
  };
  for (const Case& test :
       {Case{0, 5, 0.0625}, Case{1, 9, 0.021484375}, Case{3, 12, 0.03515625},
        Case{59, 121, 4.434449263755176e-06}, Case{86, 150, 3.715936139571442e-05}}) {
    EXPECT_NEAR(mcnemar_exact(test.b, test.c), test.p, 1e-12 * test.p) << test.b << " " << test.c;
    EXPECT_EQ(mcnemar_exact(test.b, test.c), mcnemar_exact(test.c, test.b));
  }
  EXPECT_EQ(mcnemar_exact(0, 0), 1);
  EXPECT_EQ(mcnemar_exact(8, 8), 1);
  EXPECT_EQ(mcnemar_exact(7, 8), 1);
}

// Of equal weights the counts add up, and the interval is Garwood's of a Poisson count: 0.99 of 5
// events is 1.07793 to 14.1498 (SciPy: chi2.ppf(0.005, 10) / 2, chi2.ppf(0.995, 12) / 2).
TEST(WeightedRate, OfEqualWeightsIsThatOfAPoissonCount) {
  std::vector<WeightedRate> parts;
  for (const std::int64_t events : {2, 0, 3, 0})
    parts.push_back({1, proportion(events, 1000, 0.99)});
  const WeightedSum sum = weighted_rate(parts, 0.99);
  EXPECT_DOUBLE_EQ(sum.value, 0.005);
  EXPECT_NEAR(sum.interval.low, 1.07793e-3, 1e-8);
  EXPECT_NEAR(sum.interval.high, 14.1498e-3, 1e-7);
  for (WeightedRate& part : parts) part.rate = proportion(0, 1000, 0.99);
  EXPECT_EQ(weighted_rate(parts, 0.99).interval.low, 0);
  EXPECT_NEAR(weighted_rate(parts, 0.99).interval.high, 5.29832e-3, 1e-8);  // -ln 0.005
}

TEST(WeightedRate, IsTheSumOfPartsWhereEventsAreManyOrThereIsOnePart) {
  const std::vector<WeightedRate> many = {{0.5, proportion(300, 1000, 0.99)},
                                          {0.5, proportion(20, 1000, 0.99)}};
  const std::vector<WeightedTerm> terms = {{0.5, 0.3, many[0].rate.headline},
                                           {0.5, 0.02, many[1].rate.headline}};
  EXPECT_EQ(weighted_rate(many, 0.99).interval.high, weighted_sum(terms).interval.high);
  const std::vector<WeightedRate> one = {{2, proportion(3, 1000, 0.99)}};
  EXPECT_DOUBLE_EQ(weighted_rate(one, 0.99).interval.low, 2 * one[0].rate.headline.low);
  EXPECT_TRUE(std::isnan(weighted_rate({}, 0.99).value));
}

// One trial a layer: -ln 0.005 events may be open where two trials cannot have more than two.
TEST(WeightedRate, IsAtMostTheSumOfWeights) {
  const std::vector<WeightedRate> none = {{2, proportion(0, 1, 0.99)}, {3, proportion(0, 1, 0.99)}};
  EXPECT_EQ(weighted_rate(none, 0.99).interval.high, 5);
  const std::vector<WeightedRate> rare = {{0.99, proportion(0, 1, 0.99)},
                                          {0.01, proportion(1, 1, 0.99)}};
  EXPECT_LE(weighted_rate(rare, 0.99).interval.high, 1);
}

// Layers as a network has them: large ones that hardly ever mismatch, a small one that often does.
// The plain sum of parts holds in 93 to 97 % here.
TEST(WeightedRate, CoversWhereFewEventsCarryTheSum) {
  constexpr std::array<double, 6> kRates = {2e-4, 1.3e-3, 1.2e-3, 2e-4, 1.1e-3, 0.06};
  constexpr std::array<double, 6> kWeights = {0.34, 0.22, 0.17, 0.17, 0.0996, 0.0004};
  double truth = 0;
  for (std::size_t i = 0; i < kRates.size(); ++i) truth += kWeights[i] * kRates[i];
  std::mt19937_64 random(3);
  constexpr int kRounds = 4000;
  int held = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<WeightedRate> parts;
    for (std::size_t i = 0; i < kRates.size(); ++i) {
      std::binomial_distribution<std::int64_t> draw(1024, kRates[i]);
      parts.push_back({kWeights[i], proportion(draw(random), 1024, 0.99)});
    }
    const Interval interval = weighted_rate(parts, 0.99).interval;
    held += interval.low <= truth && truth <= interval.high;
  }
  EXPECT_GE(held, 0.985 * kRounds);  // of 99 %, 3 sigma below
}

}  // namespace
}  // namespace bitfall::statistics_test
