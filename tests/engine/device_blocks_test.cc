#include "device_blocks.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "format_fixture.h"

namespace bitfall::device_blocks_test {
namespace {

using Shape = std::vector<std::int64_t>;

/// Blocks of all magnitudes, within each all smaller ones, and numbers that are none.
std::vector<float> values_of(std::int64_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto any = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    const auto narrow =
        std::ldexp(static_cast<float>(static_cast<std::int32_t>(random())),
                   static_cast<int>(i / 16 % 250) - 155 - static_cast<int>(random() % 12));
    values.push_back(seed % 3 == 0 ? any : narrow);
    if (random() % 40 == 0) values.back() = any;
  }
  return values;
}

class BlocksOf : public testing::TestWithParam<const char*> {};

TEST_P(BlocksOf, EqualTheFormatBitForBit) {
  for (const char* axis : {"channels", "last", "flat"}) {
    const auto made = make_format(GetParam(), {{"axis", std::string(axis)}});
    // Whole blocks side by side, shorter ones than a block, blocks with a shorter last one.
    for (const Shape& shape : {Shape{64, 6, 10}, Shape{16, 5, 5}, Shape{40, 3, 3}, Shape{3, 8, 8},
                               Shape{1000}, Shape{50, 96}}) {
      const auto blocks = DeviceBlocks::make(*made, shape);
      ASSERT_TRUE(blocks) << axis << " " << testing::PrintToString(shape);
      const std::int64_t size = element_count(shape);
      std::vector<std::uint32_t> metadata(static_cast<std::size_t>(metadata_size(*made, shape)));
      for (std::uint32_t seed = 0; seed < 30; seed += 3) {
        std::vector<float> both;
        for (std::uint32_t image = 0; image < 3; ++image) {
          const std::vector<float> one = values_of(size, seed + image);
          both.insert(both.end(), one.begin(), one.end());
        }
        Shape sizes = shape;
        sizes.insert(sizes.begin(), 3);
        const at::Tensor got = (*blocks)(at::tensor(both).view(sizes)).contiguous();
        ASSERT_EQ(got.sizes(), sizes);
        const float* mine = got.const_data_ptr<float>();
        for (std::int64_t image = 0; image < 3; ++image) {
          made->emulate(std::span(both).subspan(static_cast<std::size_t>(image * size),
                                                static_cast<std::size_t>(size)),
                        {shape}, metadata);
        }
        for (std::size_t i = 0; i < both.size(); ++i) {
          if (std::isnan(both[i]) && std::isnan(mine[i])) continue;
          ASSERT_EQ(bits_of(mine[i]), bits_of(both[i]))
              << axis << " " << testing::PrintToString(shape) << " " << i;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, BlocksOf,
                         testing::Values("bfp", "mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2",
                                         "mxfp6_e2m3", "mxfp4", "mxint8"));

/// Exponents that the register cannot hold, wide elements, a block as large as the slab.
TEST(DeviceBlocks, TakesEveryWidth) {
  const Shape shape{32, 4, 4};
  const auto number = [](std::int64_t value) { return OptionValue(value); };
  for (const FormatOptions& options :
       {FormatOptions{{"exponent_bits", number(4)}}, FormatOptions{{"mantissa_bits", number(15)}},
        FormatOptions{{"mantissa_bits", number(1)}}, FormatOptions{{"block", number(0)}},
        FormatOptions{{"block", number(2)}}}) {
    EXPECT_TRUE(DeviceBlocks::make(*make_format("bfp", options), shape));
  }
}

TEST(DeviceBlocks, WhatIsNoSuchBlockIsRefused) {
  const Shape shape{32, 4, 4};
  EXPECT_FALSE(DeviceBlocks::make(*make_format("mxfp4", stochastic(3)), shape));
  EXPECT_FALSE(
      DeviceBlocks::make(*make_format("bfp", {{"block", OptionValue(std::int64_t{1})}}), shape));
  EXPECT_FALSE(DeviceBlocks::make(*make_format("fp16"), shape));
}

}  // namespace
}  // namespace bitfall::device_blocks_test
