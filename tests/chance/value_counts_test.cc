#include "value_counts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace bitfall::value_counts_test {
namespace {

// exp of -40 to 40, and ends of double's range.
std::vector<double> many(std::size_t count) {
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> exponent(-40, 40);
  std::vector<double> values = {std::numeric_limits<double>::max(),
                                std::numeric_limits<double>::denorm_min(), 1, 1, 2};
  while (values.size() < count) values.push_back(std::exp(exponent(random)));
  return values;
}

std::vector<double> spread_out(ValueCounts& counts) {
  std::vector<double> values;
  for (const Counted& counted : counts.take()) {
    values.insert(values.end(), static_cast<std::size_t>(counted.count), counted.value);
  }
  return values;
}

ValueCounts counts_of(const std::vector<double>& values) {
  ValueCounts counts;
  for (const double value : values) counts.add(value);
  return counts;
}

void expect_near(const std::vector<double>& found, std::vector<double> values) {
  std::sort(values.begin(), values.end());
  ASSERT_EQ(found.size(), values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double normal = std::max(values[i], std::numeric_limits<double>::min());
    ASSERT_LE(std::abs(found[i] - values[i]), std::ldexp(normal, -11)) << i;
  }
  EXPECT_TRUE(std::is_sorted(found.begin(), found.end()));
}

TEST(ValueCounts, KeepsFewValuesAsTheyAre) {
  std::vector<double> values = many(ValueCounts::kMostApart);
  ValueCounts counts = counts_of(values);
  EXPECT_FALSE(counts.empty());
  std::sort(values.begin(), values.end());
  EXPECT_EQ(spread_out(counts), values);
  EXPECT_TRUE(counts.empty());
  EXPECT_TRUE(counts.take().empty());
}

TEST(ValueCounts, CountsManyInNarrowBins) {
  const std::vector<double> values = many(ValueCounts::kMostApart + 1);
  ValueCounts counts = counts_of(values);
  expect_near(spread_out(counts), values);
}

TEST(ValueCounts, JoinsFewAndMany) {
  const std::vector<double> large = many(40000), small = many(9000), half = many(10000);
  for (const auto& [a, b] : {std::pair{small, small},
                             {half, half},
                             {large, small},
                             {small, large},
                             {large, large},
                             {{}, large},
                             {large, {}}}) {
    ValueCounts joined = counts_of(a);
    joined.add(counts_of(b));
    std::vector<double> all = a;
    all.insert(all.end(), b.begin(), b.end());
    expect_near(spread_out(joined), all);
  }
}

}  // namespace
}  // namespace bitfall::value_counts_test
