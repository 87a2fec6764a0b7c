#include "device_rounding.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "format_fixture.h"

namespace bitfall::device_rounding_test {
namespace {

const std::vector<std::int64_t> kShape{4, 8, 8};

std::vector<std::uint32_t> metadata_of(const NumberFormat& format) {
  std::vector<std::uint32_t> metadata(static_cast<std::size_t>(metadata_size(format, kShape)));
  if (format.calibrated()) {
    const int axis = format.range_axis(kShape);
    const auto ranges = axis < 0 ? 1 : kShape[static_cast<std::size_t>(axis)];
    format.calibrate(std::vector<Range>(static_cast<std::size_t>(ranges), Range{-3.3f, 7.7f}),
                     kShape, metadata);
  }
  return metadata;
}

class RoundingOf : public testing::TestWithParam<const char*> {};

/// Every 149th float32 of all 2^32, so every exponent and NaN of both signs.
TEST_P(RoundingOf, EqualsTheFormatBitForBit) {
  const auto made = make_format(GetParam());
  std::vector<std::uint32_t> metadata = metadata_of(*made);
  const auto rounding = DeviceRounding::make(*made, kShape, metadata);
  ASSERT_TRUE(rounding);
  std::vector<float> values;
  for (std::uint64_t bits = 0; bits <= 0xFFFFFFFFu; bits += 149) {
    values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
    if (values.size() < 1u << 20 && bits + 149 <= 0xFFFFFFFFu) continue;
    const auto count = static_cast<std::int64_t>(values.size());
    const at::Tensor got =
        (*rounding)(at::from_blob(values.data(), {count}, at::kFloat)).contiguous();
    const std::vector<std::int64_t> flat{count};
    made->emulate(values, {flat}, metadata);
    const float* mine = got.const_data_ptr<float>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (std::isnan(values[i]) && std::isnan(mine[i])) continue;
      ASSERT_EQ(std::bit_cast<std::uint32_t>(mine[i]), std::bit_cast<std::uint32_t>(values[i]));
    }
    values.clear();
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, RoundingOf,
                         testing::Values("fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "fp8_e4m3fnuz",
                                         "fp8_e5m2fnuz", "fp6_e3m2", "fp6_e2m3", "fp4_e2m1", "int8",
                                         "int4", "fixed", "posit8", "posit16", "adaptive_float",
                                         "tf32"));

/// Formats that LibTorch has a type for take two kernels.
TEST(DeviceRounding, CastsWhereLibTorchHasTheType) {
  const auto rounding = [](const char* id, const FormatOptions& options = {}) {
    const auto made = make_format(id, options);
    return *DeviceRounding::make(*made, kShape, metadata_of(*made));
  };
  for (const char* id : {"fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "fp8_e4m3fnuz", "fp8_e5m2fnuz"}) {
    EXPECT_TRUE(rounding(id).is_cast()) << id;
  }
  for (const char* id : {"fp6_e3m2", "int8", "fixed", "posit16", "tf32"}) {
    EXPECT_FALSE(rounding(id).is_cast()) << id;
  }
}

TEST(DeviceRounding, KeepsTheLayout) {
  const auto made = make_format("fp16");
  const auto rounding = DeviceRounding::make(*made, kShape, {});
  ASSERT_TRUE(rounding);
  const at::Tensor value =
      at::randn({2, 4, 8, 8}).contiguous(at::MemoryFormat::ChannelsLast).mul(1e-3);
  const at::Tensor rounded = (*rounding)(value);
  EXPECT_EQ(rounded.strides(), value.strides());
  EXPECT_TRUE(rounded.equal(value.to(at::kHalf).to(at::kFloat)));
}

TEST(DeviceRounding, OverflowToNanIsHeld) {
  const auto made = make_format("fp8_e4m3", {{"overflow", std::string("nan")}});
  const auto rounding = DeviceRounding::make(*made, kShape, {});
  ASSERT_TRUE(rounding);
  const at::Tensor rounded = (*rounding)(at::tensor({448.0f, 464.0f, 465.0f, -1e9f, INFINITY}));
  EXPECT_EQ(rounded[0].item<float>(), 448);
  EXPECT_EQ(rounded[1].item<float>(), 448);
  for (int i = 2; i < 5; ++i) EXPECT_TRUE(std::isnan(rounded[i].item<float>())) << i;
}

TEST(DeviceRounding, WhatNoTableTellsIsRefused) {
  const auto refused = [](const std::unique_ptr<NumberFormat>& made) {
    const auto metadata = metadata_of(*made);
    return !DeviceRounding::make(*made, kShape, metadata).has_value();
  };
  EXPECT_TRUE(refused(make_format("mxfp8_e4m3")));
  EXPECT_TRUE(refused(make_format("fp16", {{"rounding", std::string("stochastic")}})));
}

}  // namespace
}  // namespace bitfall::device_rounding_test
