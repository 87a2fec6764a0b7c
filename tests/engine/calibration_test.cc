#include "calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>

namespace bitfall::calibration_test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

Calibration percentile(double percent) { return {CalibrationRule::kPercentile, percent, 0}; }

TEST(RangeObserver, KeepsTheExtremesOfFiniteValues) {
  RangeObserver observer({2, 3}, -1, {});
  observer.add(std::vector<float>{1, kNan, -2, kInf, 0, 0.5});
  observer.add(std::vector<float>{-kInf, 3, -1, 0, 0, kNan});
  EXPECT_EQ(observer.golden().minimum, -2);
  EXPECT_EQ(observer.golden().maximum, 3);
  ASSERT_EQ(observer.ranges().size(), 1u);
  EXPECT_EQ(observer.ranges()[0].absolute(), 3);
}

TEST(RangeObserver, WithoutFiniteValuesIsZero) {
  RangeObserver observer({2}, -1, {});
  observer.add(std::vector<float>{kNan, kInf});
  EXPECT_EQ(observer.golden().minimum, 0);
  EXPECT_EQ(observer.golden().maximum, 0);
  RangeObserver some({2}, -1, percentile(50));
  some.add(std::vector<float>{kNan, kInf});
  EXPECT_EQ(some.ranges()[0].absolute(), 0);
}

TEST(RangeObserver, TakesOneRangeAnIndexOfTheAxis) {
  // [2, 3, 2]: element (i, j, k) has the value 100 i + 10 j + k, negative where j = 1.
  std::vector<float> values;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) {
      for (int k = 0; k < 2; ++k) {
        values.push_back(static_cast<float>((j == 1 ? -1 : 1) * (100 * i + 10 * j + k)));
      }
    }
  }
  const auto ranges = [&](int axis) {
    RangeObserver observer({2, 3, 2}, axis, {});
    observer.add(values);
    std::vector<std::pair<float, float>> found;
    for (const Range& range : observer.ranges()) found.push_back({range.minimum, range.maximum});
    EXPECT_EQ(observer.golden().minimum, -111);
    EXPECT_EQ(observer.golden().maximum, 121);
    return found;
  };
  using Pairs = std::vector<std::pair<float, float>>;
  EXPECT_EQ(ranges(0), (Pairs{{-11, 21}, {-111, 121}}));
  EXPECT_EQ(ranges(1), (Pairs{{0, 101}, {-111, -10}, {20, 121}}));
  EXPECT_EQ(ranges(2), (Pairs{{-110, 120}, {-111, 121}}));
}

// Against a full sort.
TEST(RangeObserver, PercentileHoldsTheWantedShare) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> values(100000);
  for (float& value : values) value = normal(random) * std::exp(normal(random));
  std::vector<float> ordered;
  for (const float value : values) ordered.push_back(std::fabs(value));
  std::sort(ordered.begin(), ordered.end());
  for (const double percent : {0.001, 1.0, 50.0, 99.0, 99.9, 99.999, 100.0}) {
    RangeObserver observer({1000}, -1, percentile(percent));
    for (std::size_t at = 0; at < values.size(); at += 1000) {
      observer.add(std::span(values).subspan(at, 1000));
    }
    const auto rank = static_cast<std::size_t>(std::ceil(100000 * percent / 100));
    const float exact = ordered[rank - 1], got = observer.ranges()[0].absolute();
    EXPECT_GE(got, exact) << percent;
    EXPECT_LE(got, exact * (1 + 1.0 / 256)) << percent;
    EXPECT_LE(got, ordered.back());
    EXPECT_EQ(observer.ranges()[0].minimum, -got);
    EXPECT_EQ(observer.golden().absolute(), ordered.back());
  }
}

/// The zeros after a ReLU fall into one bin: of 50 000 images they are more than 2^32.
TEST(MagnitudeHistogram, CountsBeyond32Bits) {
  const std::uint64_t many = (std::uint64_t{1} << 32) + 1;
  MagnitudeHistogram histogram;
  histogram.add(0, 2);
  histogram.add(1, many);
  EXPECT_GE(histogram.percentile(99), 1);
  EXPECT_LE(histogram.percentile(99), 1 + 1.0f / 256);
  histogram.add(-8, 10 * many);
  EXPECT_LE(histogram.percentile(9), 1 + 1.0f / 256);
  EXPECT_GE(histogram.percentile(10), 8);
  EXPECT_GE(histogram.percentile(100), 8);
}

TEST(RangeObserver, RefusesAPartOfASlab) {
  for (const int axis : {-1, 0, 1}) {
    RangeObserver observer({4, 3}, axis, {});
    observer.add(std::vector<float>(24));
    EXPECT_THROW(observer.add(std::vector<float>(6)), std::logic_error) << axis;
    EXPECT_THROW(observer.add(std::vector<float>(13)), std::logic_error) << axis;
  }
}

TEST(RangeObserver, OrderAndGroupingDoNotMatter) {
  std::mt19937 random(4);
  std::vector<std::vector<float>> slabs(20, std::vector<float>(12));
  for (auto& slab : slabs) {
    for (float& value : slab) value = static_cast<float>(random() % 1000) - 500;
  }
  RangeObserver forward({4, 3}, 1, percentile(90)), backward({4, 3}, 1, percentile(90));
  std::vector<float> all;
  for (const auto& slab : slabs) forward.add(slab);
  std::reverse(slabs.begin(), slabs.end());
  for (const auto& slab : slabs) all.insert(all.end(), slab.begin(), slab.end());
  backward.add(all);  // many tensors at once
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(forward.ranges()[i].maximum, backward.ranges()[i].maximum);
  }
}

}  // namespace
}  // namespace bitfall::calibration_test
