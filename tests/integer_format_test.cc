#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "format_fixture.h"

namespace bitfall {
namespace {

std::unique_ptr<NumberFormat> integer(int bits, FormatOptions more = {}) {
  more.insert(more.begin(), {"bits", std::int64_t{bits}});
  return make_format("int", std::move(more));
}

std::vector<std::uint32_t> scales_of(const NumberFormat& format, std::vector<Range> ranges,
                                     const std::vector<std::int64_t>& shape = {1}) {
  std::vector<std::uint32_t> metadata(static_cast<std::size_t>(format.register_count(1, shape)));
  format.calibrate(ranges, shape, metadata);
  return metadata;
}

TEST(Integer, AgreesWithNumPyAtEveryWidth) {
  auto file = format_vectors("scaled_vectors.txt");
  std::map<int, std::unique_ptr<NumberFormat>> formats;
  std::string kind, line;
  int compared = 0;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    int bits = 0, code = 0;
    std::string maximum, value, decoded;
    words >> kind >> bits >> maximum >> value >> decoded >> code;
    if (kind != "int") continue;
    auto& format = formats[bits];
    if (!format) format = integer(bits);
    auto metadata = scales_of(*format, {{0, float_of(hexadecimal(maximum))}});
    const auto codes = encode(*format, std::vector{float_of(hexadecimal(value))}, metadata);
    ASSERT_EQ(codes[0], static_cast<std::uint32_t>(code) & ((1u << bits) - 1)) << line;
    ASSERT_EQ(bits_of(decode(*format, codes, metadata)[0]), hexadecimal(decoded)) << line;
    ++compared;
  }
  EXPECT_GT(compared, 1500);
}

TEST(Integer, WidthsOfTheNamedFormats) {
  for (const auto& [id, bits] : {std::pair{"int8", 8}, {"int4", 4}}) {
    const auto named = make_format(id);
    const auto general = integer(bits);
    auto metadata = scales_of(*named, {{-3, 2}});
    EXPECT_EQ(metadata, scales_of(*general, {{-3, 2}}));
    const auto values = spread_floats(1 << 16);
    EXPECT_EQ(encode(*named, values, metadata), encode(*general, values, metadata));
  }
}

TEST(Integer, EveryCodeReturns) {
  for (int bits = 2; bits <= 16; ++bits) {
    const auto format = integer(bits);
    const auto codes = all_codes(bits);
    for (const float maximum : {1.0f, 0.3f, 7e-39f, 3e38f}) {
      auto metadata = scales_of(*format, {{0, maximum}});
      const auto values = decode(*format, codes, metadata);
      const auto again = encode(*format, values, metadata);
      for (std::size_t i = 0; i < codes.size(); ++i) {
        // -2^(b-1) may lie beyond float32; it then saturates as Inf does, to the same code.
        ASSERT_EQ(again[i], codes[i]) << bits << " bits, scale of " << maximum;
      }
    }
  }
}

TEST(Integer, EmulationIsEncodingAndDecoding) {
  for (const FormatOptions& more : {FormatOptions{}, stochastic(5)}) {
    for (const int bits : {2, 4, 8, 16}) {
      const auto format = integer(bits, more);
      for (const std::uint32_t scale :
           {bits_of(0.01f), bits_of(-3.0f), bits_of(0.0f), bits_of(INFINITY), bits_of(NAN)}) {
        std::vector<std::uint32_t> metadata{scale};
        std::vector<float> values = spread_floats(1 << 17);
        const auto wanted = decode(*format, encode(*format, values, metadata, 3), metadata);
        const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
        format->emulate(values, {shape, 0, 1, 3}, metadata);
        for (std::size_t i = 0; i < values.size(); ++i) {
          if (std::isnan(values[i]) && std::isnan(wanted[i])) continue;
          ASSERT_EQ(bits_of(values[i]), bits_of(wanted[i])) << bits << " bits, element " << i;
        }
      }
    }
  }
}

/// Against the same format by tensor, one channel at a time.
TEST(Integer, ScalesByChannelAreScalesOfTheirOwn) {
  const std::vector<std::int64_t> shape{3, 4, 5};
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> values(60);
  for (float& value : values) value = normal(random);
  const auto one = make_format("int8");
  for (int axis = -3; axis < 3; ++axis) {
    const auto format = make_format(
        "int8", {{"granularity", std::string("channel")}, {"axis", std::int64_t{axis}}});
    const int dimension = axis < 0 ? axis + 3 : axis;
    EXPECT_EQ(format->range_axis(shape), dimension);
    std::vector<Range> ranges;
    for (std::int64_t i = 0; i < shape[static_cast<std::size_t>(dimension)]; ++i) {
      ranges.push_back({-1, 1 + static_cast<float>(i)});
    }
    auto metadata = scales_of(*format, ranges, shape);
    ASSERT_EQ(metadata.size(), ranges.size());
    std::vector<std::uint32_t> codes(60);
    format->encode(values, {shape}, metadata, codes);
    std::vector<float> decoded(60), emulated = values;
    format->decode(codes, {shape}, metadata, decoded);
    format->emulate(emulated, {shape}, metadata);
    EXPECT_EQ(decoded, emulated);
    const std::int64_t strides[] = {20, 5, 1};
    for (std::int64_t i = 0; i < 60; ++i) {
      const auto channel = static_cast<std::size_t>(i / strides[dimension] %
                                                    shape[static_cast<std::size_t>(dimension)]);
      auto scale = scales_of(*one, {ranges[channel]});
      const float value = values[static_cast<std::size_t>(i)];
      ASSERT_EQ(codes[static_cast<std::size_t>(i)], encode(*one, std::vector{value}, scale)[0]);
      // Slices of any start and stride know their channel.
      std::uint32_t alone = 0;
      format->encode({&value, 1}, {shape, i}, metadata, {&alone, 1});
      ASSERT_EQ(alone, codes[static_cast<std::size_t>(i)]);
    }
    std::vector<float> strided;
    for (std::int64_t i = 2; i < 60; i += 7) strided.push_back(values[static_cast<std::size_t>(i)]);
    std::vector<std::uint32_t> some(strided.size());
    format->encode(strided, {shape, 2, 7}, metadata, some);
    for (std::size_t i = 0; i < some.size(); ++i) ASSERT_EQ(some[i], codes[2 + 7 * i]);
  }
}

TEST(Integer, TensorsWithoutChannelsAreRefused) {
  const auto format = make_format("int8", {{"granularity", std::string("channel")}});
  const std::int64_t flat[] = {10}, image[] = {3, 8, 8};
  EXPECT_STREQ(format->refusal(flat),
               "scales by channel (granularity = \"channel\") need at least two dimensions");
  EXPECT_EQ(format->refusal(image), nullptr);
  const auto deep =
      make_format("int8", {{"granularity", std::string("channel")}, {"axis", std::int64_t{3}}});
  EXPECT_NE(deep->refusal(image), nullptr);
  EXPECT_EQ(make_format("int8")->refusal(flat), nullptr);
}

TEST(Integer, OptionsAreChecked) {
  EXPECT_NE(format_complaint("int", {{"bits", std::int64_t{1}}}).find("bits"), std::string::npos);
  EXPECT_NE(format_complaint("int", {{"bits", std::int64_t{17}}}).find("16"), std::string::npos);
  EXPECT_NE(format_complaint("int", {}).find("bits"), std::string::npos);
  EXPECT_NE(format_complaint("int8", {{"granularity", std::string("row")}}).find("channel"),
            std::string::npos);
}

TEST(Integer, StochasticRoundingIsUnbiasedAndRepeatable) {
  const auto format = make_format("int8", stochastic(9));
  std::vector<std::uint32_t> metadata{bits_of(0.5f)};
  constexpr int kDraws = 200000;
  for (const float value : {0.6f, -3.3f, 1.01f, 20.24f}) {
    const std::vector<float> same(kDraws, value);
    const auto codes = encode(*format, same, metadata, 4);
    EXPECT_EQ(codes, encode(*format, same, metadata, 4));
    EXPECT_NE(codes, encode(*format, same, metadata, 5));
    double sum = 0;
    for (const float decoded : decode(*format, codes, metadata)) {
      EXPECT_LT(std::fabs(decoded - value), 0.5f);
      sum += decoded;
    }
    const double up = value / 0.5 - std::floor(value / 0.5);
    const double sigma = 0.5 * std::sqrt(up * (1 - up) / kDraws);
    EXPECT_NEAR(sum / kDraws, value, 5 * sigma + 1e-7);
  }
  const auto codes = all_codes(8);
  for (const float scale : {0.5f, 0.1f, 3.7e-5f}) {
    metadata[0] = bits_of(scale);
    for (std::uint64_t stream = 0; stream < 50; ++stream) {
      ASSERT_EQ(encode(*format, decode(*format, codes, metadata), metadata, stream), codes);
    }
  }
}

RC_GTEST_PROP(Integer, RoundingIsMonotoneAndIdempotent, ()) {
  const auto format = integer(*rc::gen::inRange(2, 17));
  auto metadata = scales_of(*format, {{0, std::ldexp(1.1f, *rc::gen::inRange(-60, 60))}});
  const float a = float_of(*rc::gen::arbitrary<std::uint32_t>());
  const float b = float_of(*rc::gen::arbitrary<std::uint32_t>());
  RC_PRE(!std::isnan(a) && !std::isnan(b));
  const auto once = decode(*format, encode(*format, std::vector{a, b}, metadata), metadata);
  RC_ASSERT((a <= b) <= (once[0] <= once[1]));
  RC_ASSERT(decode(*format, encode(*format, once, metadata), metadata) == once);
}

}  // namespace
}  // namespace bitfall
