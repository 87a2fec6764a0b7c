#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "format_fixture.h"

namespace bitfall {
namespace {

std::unique_ptr<NumberFormat> adaptive(int bits, int exponent_bits, FormatOptions more = {}) {
  more.push_back({"bits", std::int64_t{bits}});
  more.push_back({"exponent_bits", std::int64_t{exponent_bits}});
  return make_format("adaptive_float", std::move(more));
}

std::vector<std::uint32_t> bias_of(const NumberFormat& format, float maximum) {
  std::vector<std::uint32_t> metadata(1);
  const std::int64_t shape[] = {1};
  format.calibrate(std::vector{Range{0, maximum}}, shape, metadata);
  return metadata;
}

TEST(AdaptiveFloat, AgreesWithThePapersAlgorithm) {
  auto file = format_vectors("scaled_vectors.txt");
  std::string kind, line;
  int compared = 0;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    int bits = 0, exponent_bits = 0;
    std::string maximum, value, decoded;
    words >> kind >> bits >> exponent_bits >> maximum >> value >> decoded;
    if (kind != "adaptive") continue;
    const auto format = adaptive(bits, exponent_bits);
    auto metadata = bias_of(*format, float_of(hexadecimal(maximum)));
    const auto codes = encode(*format, std::vector{float_of(hexadecimal(value))}, metadata);
    const float got = decode(*format, codes, metadata)[0];
    ASSERT_EQ(got, float_of(hexadecimal(decoded))) << line;
    ++compared;
  }
  EXPECT_GT(compared, 3500);
}

TEST(AdaptiveFloat, EveryCodeReturns) {
  for (const auto& [bits, exponent_bits] :
       {std::pair{8, 4}, {4, 1}, {6, 3}, {16, 5}, {12, 8}, {16, 1}}) {
    const auto format = adaptive(bits, exponent_bits);
    const auto codes = all_codes(bits);
    // In float32's own range nothing is rounded on decoding.
    for (std::uint32_t bias : {0xF0u, 0x80u + 8, 0u, 1u}) {
      const int top = static_cast<std::int8_t>(bias) + (1 << exponent_bits) - 1;
      const int low = static_cast<std::int8_t>(bias) - (bits - 1 - exponent_bits);
      if (top > 127 || low < -149) continue;
      std::vector<std::uint32_t> metadata{bias};
      const auto values = decode(*format, codes, metadata);
      EXPECT_EQ(encode(*format, values, metadata), codes) << bits << ", bias " << bias;
    }
  }
}

/// Bit e of the bias scales every number by 2^(2^e) or its inverse (bit 7: the sign).
TEST(AdaptiveFloat, FlipsOfTheBiasScaleTheTensor) {
  const auto format = make_format("adaptive_float");
  const auto codes = all_codes(8);
  for (const std::uint32_t bias : {0u, 5u, 0xF3u}) {
    const auto before = decode(*format, codes, std::vector{bias});
    for (int bit = 0; bit < 8; ++bit) {
      const std::uint32_t flipped = bias ^ (1u << bit);
      const int weight = bit == 7 ? -128 : 1 << bit;
      const int change = (flipped >> bit & 1) != 0 ? weight : -weight;
      const auto after = decode(*format, codes, std::vector{flipped});
      for (std::size_t i = 0; i < codes.size(); ++i) {
        ASSERT_EQ(after[i], static_cast<float>(std::ldexp(static_cast<double>(before[i]), change)));
      }
    }
  }
}

TEST(AdaptiveFloat, EmulationIsEncodingAndDecoding) {
  for (const FormatOptions& more : {FormatOptions{}, stochastic(5)}) {
    for (const auto& [bits, exponent_bits] : {std::pair{8, 4}, {4, 2}, {16, 5}}) {
      const auto format = adaptive(bits, exponent_bits, more);
      for (std::uint32_t bias : {0u, 0xF3u, 0x80u, 0x7Fu}) {
        std::vector<std::uint32_t> metadata{bias};
        std::vector<float> values = spread_floats(1 << 18);
        const auto wanted = decode(*format, encode(*format, values, metadata, 3), metadata);
        const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
        format->emulate(values, {shape, 0, 1, 3}, metadata);
        for (std::size_t i = 0; i < values.size(); ++i) {
          ASSERT_EQ(bits_of(values[i]), bits_of(wanted[i]));
        }
      }
    }
  }
}

TEST(AdaptiveFloat, SpecialValuesAreStored) {
  const auto format = make_format("adaptive_float");
  auto metadata = bias_of(*format, 1);
  const auto values = decode(
      *format, encode(*format, std::vector{NAN, INFINITY, -INFINITY, -0.0f}, metadata), metadata);
  EXPECT_EQ(values[0], 0);
  EXPECT_EQ(values[1], format->largest(metadata));
  EXPECT_EQ(values[2], -format->largest(metadata));
  EXPECT_EQ(values[1], 1.875f);
  EXPECT_EQ(bits_of(values[3]), bits_of(-0.0f));
}

TEST(AdaptiveFloat, OptionsAreChecked) {
  const auto said = format_complaint(
      "adaptive_float", {{"bits", std::int64_t{6}}, {"exponent_bits", std::int64_t{5}}});
  EXPECT_NE(said.find("exponent_bits: 5 leaves no fraction in 6 bits; allowed: 1 to 4"),
            std::string::npos)
      << said;
}

TEST(AdaptiveFloat, StochasticRoundingIsUnbiased) {
  const auto format = make_format("adaptive_float", stochastic(2));
  auto metadata = bias_of(*format, 1);
  constexpr int kDraws = 200000;
  for (const float value : {0.3f, -1.57f, 1.2e-5f}) {  // the last below the smallest
    double sum = 0, squares = 0;
    const std::vector<float> same(kDraws, value);
    for (const float decoded : decode(*format, encode(*format, same, metadata), metadata)) {
      sum += decoded;
      squares += static_cast<double>(decoded) * decoded;
    }
    const double mean = sum / kDraws;
    const double sigma = std::sqrt((squares / kDraws - mean * mean) / kDraws);
    EXPECT_GT(sigma, 0);
    EXPECT_NEAR(mean, value, 5 * sigma);
  }
}

RC_GTEST_PROP(AdaptiveFloat, RoundingIsMonotoneAndIdempotent, ()) {
  const int bits = *rc::gen::inRange(4, 17);
  const auto format = adaptive(bits, *rc::gen::inRange(1, std::min(8, bits - 2) + 1));
  auto metadata = bias_of(*format, std::ldexp(1.3f, *rc::gen::inRange(-20, 60)));
  const float a = float_of(*rc::gen::arbitrary<std::uint32_t>());
  const float b = float_of(*rc::gen::arbitrary<std::uint32_t>());
  RC_PRE(!std::isnan(a) && !std::isnan(b));
  const auto once = decode(*format, encode(*format, std::vector{a, b}, metadata), metadata);
  RC_ASSERT((a <= b) <= (once[0] <= once[1]));
  RC_ASSERT(decode(*format, encode(*format, once, metadata), metadata) == once);
}

}  // namespace
}  // namespace bitfall
