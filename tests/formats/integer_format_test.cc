#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "format_digests.h"
#include "format_fixture.h"

namespace bitfall::integer_format_test {
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

FormatOptions by_channel(int axis, FormatOptions more = {}) {
  more.push_back({"granularity", std::string("channel")});
  more.push_back({"axis", std::int64_t{axis}});
  return more;
}

/// Slices of any start and stride know their channels: against the same format by tensor, one value
/// at a time. The shapes have long stretches of one channel, short ones, and single values.
TEST(Integer, ScalesByChannelAreScalesOfTheirOwn) {
  const auto one = make_format("int8");
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{3, 4, 5}, {3, 6, 40}, {7, 1500}, {2, 3, 2, 50}}) {
    const int rank = static_cast<int>(shape.size());
    std::vector<float> values(static_cast<std::size_t>(element_count(shape)));
    for (float& value : values) value = normal(random);
    for (int axis = -rank; axis < rank; ++axis) {
      const auto format = make_format("int8", by_channel(axis));
      const int dimension = axis < 0 ? axis + rank : axis;
      EXPECT_EQ(format->range_axis(shape), dimension);
      const std::int64_t channels = shape[static_cast<std::size_t>(dimension)];
      const std::int64_t inner =
          element_count(std::span(shape).subspan(static_cast<std::size_t>(dimension) + 1));
      std::vector<Range> ranges;
      for (std::int64_t i = 0; i < channels; ++i) ranges.push_back({-1, 1.0f + 0.01f * i});
      auto metadata = scales_of(*format, ranges, shape);
      ASSERT_EQ(metadata.size(), ranges.size());
      for (const std::int64_t first : {0, 1, 29}) {
        for (const std::int64_t stride : {1, 2, 7, 41}) {
          std::vector<float> slice, alone;
          std::vector<std::uint32_t> wanted;
          for (auto i = first; i < static_cast<std::int64_t>(values.size()); i += stride) {
            std::uint32_t scale = metadata[static_cast<std::size_t>(i / inner % channels)];
            slice.push_back(values[static_cast<std::size_t>(i)]);
            wanted.push_back(encode(*one, {{slice.back()}}, {&scale, 1})[0]);
            alone.push_back(decode(*one, {{wanted.back()}}, {&scale, 1})[0]);
          }
          std::vector<std::uint32_t> codes(slice.size());
          format->encode(slice, {shape, first, stride}, metadata, codes);
          ASSERT_EQ(codes, wanted) << "axis " << axis << ", " << first << " + " << stride;
          std::vector<float> decoded(slice.size());
          format->decode(codes, {shape, first, stride}, metadata, decoded);
          ASSERT_EQ(decoded, alone);
          format->emulate(slice, {shape, first, stride}, metadata);
          ASSERT_EQ(slice, alone);
        }
      }
    }
  }
}

TEST(Integer, StochasticDrawsBelongToTheElement) {
  const std::int64_t shape[] = {5, 6, 7};
  const std::vector<float> values(210, 0.3f);
  for (const FormatOptions& more : {FormatOptions{}, by_channel(0), by_channel(-1)}) {
    FormatOptions options = stochastic(3);
    options.insert(options.end(), more.begin(), more.end());
    const auto format = make_format("int8", options);
    std::vector<std::uint32_t> metadata(static_cast<std::size_t>(format->register_count(1, shape)),
                                        bits_of(0.5f));
    std::vector<std::uint32_t> codes(210), alone(210);
    format->encode(values, {shape, 0, 1, 8}, metadata, codes);
    for (std::size_t i = 0; i < 210; ++i) {
      format->encode({&values[i], 1}, {shape, static_cast<std::int64_t>(i), 1, 8}, metadata,
                     {&alone[i], 1});
    }
    EXPECT_EQ(codes, alone);
    EXPECT_GT(std::count(codes.begin(), codes.end(), 1u), 80);
    EXPECT_GT(std::count(codes.begin(), codes.end(), 0u), 40);
  }
}

/// Every number, every tie and their neighbours, at six widths and four scales.
TEST(Integer, RoundsEveryTieAsNumPy) {
  std::size_t compared = 0;
  for (const FormatDigest& wanted : format_digests("integer")) {
    const int bits = wanted.parameter(0);
    const auto format = integer(bits);
    std::vector<std::uint32_t> scale{hexadecimal(wanted.parameters[1])};
    const auto numbers = decode(*format, codes_in_order(bits), scale);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const float number = static_cast<float>(i) - std::ldexp(1.0f, bits - 1);
      ASSERT_EQ(numbers[i], number * float_of(scale[0])) << wanted.line;
    }
    const auto codes = encode(*format, numbers_and_ties(numbers, middles(numbers)), scale);
    ASSERT_EQ(codes.size(), wanted.count) << wanted.line;
    EXPECT_EQ(digest_of(codes), wanted.digest) << wanted.line;
    compared += codes.size();
  }
  EXPECT_GT(compared, 1'300'000u);
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
  for (const std::int64_t axis : {-5, 4}) {
    const auto said = format_complaint("int4", {{"axis", axis}});
    EXPECT_NE(said.find("axis"), std::string::npos) << said;
    EXPECT_NE(said.find("-4"), std::string::npos) << said;
  }
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

std::uint32_t calibrated_scale(const NumberFormat& format, Range range) {
  std::uint32_t metadata[1] = {};
  const std::int64_t shape[] = {3, 4};
  format.calibrate({&range, 1}, shape, metadata);
  return metadata[0];
}

TEST(Int8, AddsNoNoiseOfItsOwn) {
  const auto format = make_format("int8");
  std::vector<std::uint32_t> codes(256);
  for (std::uint32_t i = 0; i < 256; ++i) codes[i] = i;
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    // Any finite golden maximum, subnormal ones included.
    const float maximum = float_of(random() % 0x7F800000u);
    std::uint32_t scale = calibrated_scale(*format, {0, maximum});
    const auto values = decode(*format, codes, {&scale, 1});
    const auto again = decode(*format, encode(*format, values, {&scale, 1}), {&scale, 1});
    for (std::size_t c = 0; c < codes.size(); ++c) {
      ASSERT_EQ(bits_of(values[c]), bits_of(again[c])) << maximum << " code " << c;
    }
  }
}

TEST(Int8, ErrsByHalfAStepAtMost) {
  const auto format = make_format("int8");
  std::mt19937 random(8);
  for (int i = 0; i < 200; ++i) {
    const float maximum = std::exp(std::uniform_real_distribution<float>(-40, 40)(random));
    std::uint32_t scale = calibrated_scale(*format, {-maximum / 3, maximum});
    std::vector<float> values(100);
    for (float& value : values)
      value = std::uniform_real_distribution<float>(-maximum, maximum)(random);
    const auto again = decode(*format, encode(*format, values, {&scale, 1}), {&scale, 1});
    for (std::size_t v = 0; v < values.size(); ++v) {
      // Half a step, and the rounding of quotient and product in float32.
      ASSERT_LE(std::fabs(double{values[v]} - again[v]), float_of(scale) * (0.5 + 127 * 0x1p-22));
    }
  }
}

TEST(Int8, DecodesUnderAnyScale) {
  const auto format = make_format("int8");
  std::vector<std::uint32_t> codes(256);
  for (std::uint32_t i = 0; i < 256; ++i) codes[i] = i;
  for (const std::uint32_t scale :
       {0u, 0x80000000u, 0x7F800000u, 0xFF800000u, 0x7FC00000u, 0x7F800001u, 1u, 0x80000001u,
        0x007FFFFFu, 0x7F7FFFFFu, 0xBF800000u}) {
    const auto values = decode(*format, codes, {&scale, 1});
    for (int code = -128; code < 128; ++code) {
      const float expected = static_cast<float>(code) * float_of(scale);
      const float value = values[static_cast<std::size_t>(code & 0xFF)];
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(value)) << std::hex << scale;
      } else {
        ASSERT_EQ(bits_of(value), bits_of(expected)) << std::hex << scale << " code " << code;
      }
    }
    EXPECT_TRUE(std::isfinite(format->largest({&scale, 1}))) << std::hex << scale;
  }
}

TEST(Int8, DescribesItsRegisters) {
  const auto format = make_format("int8");
  ASSERT_EQ(format->registers().size(), 2u);
  const Register& payload = format->registers()[0];
  EXPECT_EQ(payload.bits, 8);
  for (int bit = 0; bit < 7; ++bit) EXPECT_EQ(payload.bit_classes[bit], BitClass::kMantissa);
  EXPECT_EQ(payload.bit_classes[7], BitClass::kSign);
  const Register& scale = format->registers()[1];
  EXPECT_STREQ(scale.name, "scale");
  EXPECT_EQ(scale.bits, 32);
  for (const BitClass bit_class : scale.bit_classes) EXPECT_EQ(bit_class, BitClass::kMetadata);
  const std::int64_t shape[] = {16, 8, 8};
  EXPECT_EQ(format->register_count(1, shape), 1);
  EXPECT_TRUE(format->calibrated());
  EXPECT_TRUE(format->elementwise());
  EXPECT_FALSE(format->exact());
  EXPECT_EQ(format->metadata_value(1, 0x3F000000), 0.5);
  const std::uint32_t half = 0x3F000000;
  EXPECT_EQ(format->largest({&half, 1}), 64.0f);
}

RC_GTEST_PROP(Integer, FlippingTwiceRestoresTheValue, ()) {
  const int bits = *rc::gen::inRange(2, 17);
  const auto format = integer(bits);
  auto metadata = scales_of(*format, {{0, std::ldexp(1.3f, *rc::gen::inRange(-60, 60))}});
  const auto code = *rc::gen::inRange(0u, 1u << bits);
  const std::uint32_t flip = 1u << *rc::gen::inRange(0, bits);
  const auto faulty = decode(*format, {{code ^ flip}}, metadata);
  const auto stored = encode(*format, faulty, metadata);
  RC_ASSERT(decode(*format, {{stored[0] ^ flip}}, metadata) == decode(*format, {{code}}, metadata));
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
}  // namespace bitfall::integer_format_test
