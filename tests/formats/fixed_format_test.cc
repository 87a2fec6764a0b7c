#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "format_digests.h"
#include "format_fixture.h"

namespace bitfall::fixed_format_test {
namespace {

std::unique_ptr<NumberFormat> fixed(int integer_bits, int fraction_bits, FormatOptions more = {}) {
  more.push_back({"integer_bits", std::int64_t{integer_bits}});
  more.push_back({"fraction_bits", std::int64_t{fraction_bits}});
  return make_format("fixed", std::move(more));
}

TEST(Fixed, AgreesWithExactFractions) {
  auto file = format_vectors("scaled_vectors.txt");
  std::string kind, line;
  int compared = 0;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    int integer_bits = 0, fraction_bits = 0;
    std::int64_t code = 0;
    std::string value, decoded;
    words >> kind >> integer_bits >> fraction_bits >> value >> decoded >> code;
    if (kind != "fixed") continue;
    const auto format = fixed(integer_bits, fraction_bits);
    const auto codes = encode(*format, std::vector{float_of(hexadecimal(value))});
    const std::uint64_t mask = (std::uint64_t{1} << (1 + integer_bits + fraction_bits)) - 1;
    ASSERT_EQ(codes[0], static_cast<std::uint64_t>(code) & mask) << line;
    ASSERT_EQ(bits_of(decode(*format, codes)[0]), hexadecimal(decoded)) << line;
    ++compared;
  }
  EXPECT_GT(compared, 500);
}

TEST(Fixed, EveryCodeOfNarrowFormatsReturns) {
  for (const auto& [integer_bits, fraction_bits] :
       {std::pair{7, 8}, {0, 7}, {3, 4}, {1, 0}, {0, 1}, {15, 0}}) {
    const auto format = fixed(integer_bits, fraction_bits);
    const int bits = 1 + integer_bits + fraction_bits;
    const auto codes = all_codes(bits);
    const auto values = decode(*format, codes);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      auto number = static_cast<std::int64_t>(codes[i]);
      if (number >> (bits - 1) != 0) number -= std::int64_t{1} << bits;
      ASSERT_EQ(values[i], std::ldexp(static_cast<double>(number), -fraction_bits));
    }
    EXPECT_EQ(encode(*format, values), codes);
  }
}

/// Every number, every tie and their neighbours.
TEST(Fixed, RoundsEveryTieAsAPyTypes) {
  std::size_t compared = 0;
  for (const FormatDigest& wanted : format_digests("fixed")) {
    const auto format = fixed(wanted.parameter(0), wanted.parameter(1));
    const int bits = 1 + wanted.parameter(0) + wanted.parameter(1);
    const auto numbers = decode(*format, codes_in_order(bits));
    const auto codes = encode(*format, numbers_and_ties(numbers, middles(numbers)));
    ASSERT_EQ(codes.size(), wanted.count) << wanted.line;
    EXPECT_EQ(digest_of(codes), wanted.digest) << wanted.line;
    compared += codes.size();
  }
  EXPECT_GT(compared, 1'300'000u);
}

TEST(Fixed, EmulationIsEncodingAndDecoding) {
  for (const FormatOptions& more : {FormatOptions{}, stochastic(5)}) {
    for (const auto& [integer_bits, fraction_bits] :
         {std::pair{7, 8}, {0, 7}, {10, 11}, {10, 12}, {15, 16}, {0, 31}, {31, 0}}) {
      const auto format = fixed(integer_bits, fraction_bits, more);
      std::vector<float> values = spread_floats(1 << 18);
      const auto wanted = decode(*format, encode(*format, values, {}, 3));
      const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
      format->emulate(values, {shape, 0, 1, 3}, {});
      for (std::size_t i = 0; i < values.size(); ++i) {
        ASSERT_EQ(bits_of(values[i]), bits_of(wanted[i]));
      }
    }
  }
}

TEST(Fixed, OptionsAreChecked) {
  const auto said = format_complaint(
      "fixed", {{"integer_bits", std::int64_t{20}}, {"fraction_bits", std::int64_t{20}}});
  EXPECT_NE(said.find("fraction_bits: 20 with 20 integer_bits and the sign make 41 bits; allowed: "
                      "2 to 32 in all"),
            std::string::npos)
      << said;
  EXPECT_NE(format_complaint("fixed", {{"integer_bits", std::int64_t{32}}}).find("31"),
            std::string::npos);
  EXPECT_NE(format_complaint("fixed", {{"fraction_bits", std::int64_t{-1}}}).find("0"),
            std::string::npos);
  const auto none = format_complaint(
      "fixed", {{"integer_bits", std::int64_t{0}}, {"fraction_bits", std::int64_t{0}}});
  EXPECT_NE(none.find("make 1 bits; allowed: 2 to 32 in all"), std::string::npos) << none;
}

TEST(Fixed, StochasticRoundingIsUnbiased) {
  const auto format = fixed(3, 4, stochastic(2));
  constexpr int kDraws = 200000;
  for (const float value : {0.3f, -1.57f, 7.001f}) {
    double sum = 0;
    const std::vector<float> same(kDraws, value);
    for (const float decoded : decode(*format, encode(*format, same))) sum += decoded;
    const double up = value * 16 - std::floor(value * 16);
    EXPECT_NEAR(sum / kDraws, value, 5 * std::sqrt(up * (1 - up) / kDraws) / 16);
  }
  const auto codes = all_codes(8);
  EXPECT_EQ(encode(*format, decode(*format, codes)), codes);
}

TEST(Fixed, DescribesItself) {
  const auto format = fixed(3, 4);
  ASSERT_EQ(format->registers().size(), 1u);
  EXPECT_EQ(format->registers()[0].bits, 8);
  for (std::size_t bit = 0; bit < 7; ++bit) {
    EXPECT_EQ(format->registers()[0].bit_classes[bit], BitClass::kMantissa);
  }
  EXPECT_EQ(format->registers()[0].bit_classes[7], BitClass::kSign);
  EXPECT_EQ(format->largest({}), 8);
  EXPECT_EQ(format->traits().smallest, 0x1p-4);
  EXPECT_FALSE(format->calibrated());
  EXPECT_TRUE(format->elementwise());
}

/// Codes above 2^24 are rounded once when they are decoded; storing what was read changes nothing.
RC_GTEST_PROP(Fixed, EveryCodeOfEveryWidthIsReadBack, ()) {
  const int integer_bits = *rc::gen::inRange(0, 32);
  const int fraction_bits = *rc::gen::inRange(0, 32 - integer_bits);
  RC_PRE(integer_bits + fraction_bits > 0);
  const int bits = 1 + integer_bits + fraction_bits;
  const auto format = fixed(integer_bits, fraction_bits);
  const std::uint32_t mask = ~0u >> (32 - bits);
  const auto code = *rc::gen::arbitrary<std::uint32_t>() & mask;
  const auto number =
      static_cast<std::int64_t>(static_cast<std::int32_t>(code << (32 - bits))) >> (32 - bits);
  const auto value = decode(*format, {{code}});
  RC_ASSERT(value[0] ==
            static_cast<float>(std::ldexp(static_cast<double>(number), -fraction_bits)));
  const auto again = encode(*format, value);
  RC_ASSERT((again[0] & ~mask) == 0);
  RC_ASSERT(decode(*format, again) == value);
  if (bits > 24) return;
  const std::uint32_t flip = 1u << *rc::gen::inRange(0, bits);
  const auto stored = encode(*format, decode(*format, {{code ^ flip}}));
  RC_ASSERT(decode(*format, {{stored[0] ^ flip}}) == value);
}

RC_GTEST_PROP(Fixed, RoundingIsMonotoneAndIdempotent, ()) {
  const int integer_bits = *rc::gen::inRange(0, 32);
  const int fraction_bits = *rc::gen::inRange(0, 32 - integer_bits);
  RC_PRE(integer_bits + fraction_bits > 0);
  const auto format = fixed(integer_bits, fraction_bits);
  const float a = float_of(*rc::gen::arbitrary<std::uint32_t>());
  const float b = float_of(*rc::gen::arbitrary<std::uint32_t>());
  RC_PRE(!std::isnan(a) && !std::isnan(b));
  const auto once = decode(*format, encode(*format, std::vector{a, b}));
  RC_ASSERT((a <= b) <= (once[0] <= once[1]));
  RC_ASSERT(decode(*format, encode(*format, once)) == once);
}

}  // namespace
}  // namespace bitfall::fixed_format_test
