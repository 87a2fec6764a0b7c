#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "format_digests.h"
#include "format_fixture.h"

namespace bitfall::posit_format_test {
namespace {

/// What a code of any width stands for, read off its bits as the standard's figure says: not the
/// format's own arithmetic. NaN for NaR.
double standard_value(std::uint32_t code, int bits) {
  std::string text;
  for (int bit = bits - 1; bit >= 0; --bit) text += (code >> bit & 1) != 0 ? '1' : '0';
  if (text.find('1') == std::string::npos) return 0;
  if (text[0] == '1' && text.find('1', 1) == std::string::npos) return NAN;
  if (text[0] == '1') return -standard_value((~code + 1) & ((std::uint32_t{1} << bits) - 1), bits);
  std::size_t at = 1;
  while (at < text.size() && text[at] == text[1]) ++at;
  const int run = static_cast<int>(at) - 1;
  const int regime = text[1] == '1' ? run - 1 : -run;
  ++at;  // the bit that ends the regime
  const auto next = [&] { return at < text.size() ? text[at++] - '0' : 0; };
  int exponent = 2 * next();
  exponent += next();
  double significand = 1, place = 0.5;
  while (at < text.size()) {
    significand += place * next();
    place /= 2;
  }
  return std::ldexp(significand, 4 * regime + exponent);
}

/// The code that the standard rounds to: the boundary between two neighbours of n bits is the code
/// of n + 1 bits between them, a tie takes the even one; never 0 or NaR for another number.
class Standard {
 public:
  explicit Standard(int bits) : bits_(bits) {
    const std::uint32_t last = (1u << (bits - 1)) - 1;
    for (std::uint32_t code = 1; code < last; ++code) {
      boundaries_.push_back(standard_value(2 * code + 1, bits + 1));
    }
  }
  std::uint32_t encode(float value) const {
    const std::uint32_t nar = 1u << (bits_ - 1);
    if (value == 0) return 0;
    if (!std::isfinite(value)) return nar;
    const double magnitude = std::fabs(value);
    // boundaries_[i] lies between the codes i + 1 and i + 2.
    const auto above = std::lower_bound(boundaries_.begin(), boundaries_.end(), magnitude);
    auto code = static_cast<std::uint32_t>(above - boundaries_.begin()) + 1;
    if (above != boundaries_.end() && *above == magnitude && code % 2 == 1) ++code;
    return value < 0 ? (~code + 1) & ((1u << bits_) - 1) : code;
  }

 private:
  int bits_;
  std::vector<double> boundaries_;
};

class PositOf : public testing::TestWithParam<int> {
 protected:
  int bits() const { return GetParam(); }
  std::unique_ptr<NumberFormat> format() const {
    return make_format("posit" + std::to_string(bits()));
  }
};

TEST_P(PositOf, DecodesEveryCode) {
  const auto codes = all_codes(bits());
  const auto values = decode(*format(), codes);
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const double wanted = standard_value(codes[i], bits());
    if (std::isnan(wanted)) {
      EXPECT_TRUE(std::isnan(values[i]));
    } else {
      ASSERT_EQ(values[i], wanted) << codes[i];
    }
  }
}

TEST_P(PositOf, EncodesEveryNumberTieAndNeighbour) {
  const Standard standard(bits());
  std::vector<float> inputs = spread_floats();
  for (const std::uint32_t code : all_codes(bits() + 1)) {  // numbers and the boundaries between
    const auto value = static_cast<float>(standard_value(code, bits() + 1));
    inputs.insert(inputs.end(),
                  {value, std::nextafter(value, INFINITY), std::nextafter(value, -INFINITY)});
  }
  const auto codes = encode(*format(), inputs);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    ASSERT_EQ(codes[i], standard.encode(inputs[i])) << std::hexfloat << inputs[i];
  }
  RecordProperty("compared", static_cast<int>(inputs.size()));
}

TEST_P(PositOf, EmulationIsEncodingAndDecoding) {
  std::vector<float> values = spread_floats();
  const auto made = format();
  const auto wanted = decode(*made, encode(*made, values));
  const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
  made->emulate(values, {shape}, {});
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(bits_of(values[i]), bits_of(wanted[i]));
}

/// The fields that the bit classes name, put into the standard's formula
/// ((1 - 3s) + f) x 2^((1 - 2s) x (4r + e + s)), which reads negative codes as they stand.
TEST_P(PositOf, ClassesAreTheFieldsOfTheStandard) {
  const auto made = format();
  for (const std::uint32_t code : all_codes(bits())) {
    ASSERT_EQ(made->bit_class(code, bits() - 1), BitClass::kSign);
    const int sign = static_cast<int>(code >> (bits() - 1));
    BitClass last = BitClass::kRegime;
    int run = 0, exponent = 0, exponent_bits = 0;
    bool ended = false;
    double fraction = 0, place = 0.5;
    const std::uint32_t first = code >> (bits() - 2) & 1;
    for (int bit = bits() - 2; bit >= 0; --bit) {
      const std::uint32_t digit = code >> bit & 1;
      const BitClass is = made->bit_class(code, bit);
      if (is == BitClass::kRegime) {
        ASSERT_FALSE(ended) << code;
        ended = digit != first;
        run += ended ? 0 : 1;
      } else if (is == BitClass::kExponent) {
        ASSERT_NE(last, BitClass::kMantissa) << code;
        exponent = 2 * exponent + static_cast<int>(digit);
        ++exponent_bits;
      } else {
        ASSERT_EQ(is, BitClass::kMantissa);
        ASSERT_EQ(exponent_bits, 2) << code;
        fraction += place * digit;
        place /= 2;
      }
      ASSERT_TRUE(is == BitClass::kRegime || ended) << code;
      last = is;
    }
    if (code << (33 - bits()) == 0) continue;  // 0 and NaR: no regime ends
    ASSERT_LE(exponent_bits, 2);
    exponent <<= 2 - exponent_bits;
    const int regime = first != 0 ? run - 1 : -run;
    const double value =
        std::ldexp(1 - 3 * sign + fraction, (1 - 2 * sign) * (4 * regime + exponent + sign));
    ASSERT_EQ(value, standard_value(code, bits())) << code;
  }
}

/// Every number, every boundary between neighbours, the float32 numbers beside both, both signs.
TEST_P(PositOf, RoundsEveryBoundaryAsSoftPosit) {
  for (const FormatDigest& wanted : format_digests("posit")) {
    if (wanted.parameter(0) != bits()) continue;
    const std::uint32_t last = (1u << (bits() - 1)) - 1;
    std::vector<float> numbers, boundaries;
    for (std::uint32_t code = 1; code <= last; ++code) {
      numbers.push_back(static_cast<float>(standard_value(code, bits())));
      if (code == last) break;
      boundaries.push_back(static_cast<float>(standard_value(2 * code + 1, bits() + 1)));
    }
    std::vector<float> inputs = numbers_and_ties(numbers, boundaries);
    const std::size_t half = inputs.size();
    for (std::size_t i = 0; i < half; ++i) inputs.push_back(-inputs[i]);
    const auto codes = encode(*format(), inputs);
    EXPECT_EQ(codes.size(), wanted.count);
    EXPECT_EQ(digest_of(codes), wanted.digest) << wanted.line;
    return;
  }
  FAIL() << "no digest";
}

TEST_P(PositOf, FlippingTwiceRestoresTheValue) {
  const auto made = format();
  const std::uint32_t nar = 1u << (bits() - 1);
  for (int bit = 0; bit < bits(); ++bit) {
    auto codes = all_codes(bits());
    for (std::uint32_t& code : codes) code ^= 1u << bit;
    auto stored = encode(*made, decode(*made, codes));
    ASSERT_EQ(stored, codes) << bit;
  }
  EXPECT_EQ(encode(*made, std::vector{NAN, -NAN, INFINITY, -INFINITY}),
            std::vector<std::uint32_t>(4, nar));
}

INSTANTIATE_TEST_SUITE_P(Widths, PositOf, testing::Values(8, 16));

TEST(Posit, AgreesWithSoftPosit) {
  auto file = format_vectors("posit_vectors.txt");
  std::map<int, std::unique_ptr<NumberFormat>> formats;
  int width = 0, compared = 0;
  std::string value, code, decoded;
  while (file >> width >> value >> code >> decoded) {
    auto& format = formats[width];
    if (!format) format = make_format("posit" + std::to_string(width));
    const float input = float_of(hexadecimal(value));
    const auto got = encode(*format, std::vector{input});
    ASSERT_EQ(got[0], hexadecimal(code)) << width << " bits, " << input;
    ASSERT_EQ(std::bit_cast<std::uint64_t>(static_cast<double>(decode(*format, got)[0])),
              std::stoull(decoded, nullptr, 16));
    ++compared;
  }
  EXPECT_GT(compared, 8000);
}

TEST(Posit, KnownCodesOfTheStandard) {
  const auto format = make_format("posit16");
  const auto codes =
      encode(*format, std::vector{1.0f, -1.0f, 3.14159f, 0x1p56f, 0x1p-56f, 1e38f, 1e-38f, 0.0f});
  EXPECT_EQ(codes, (std::vector<std::uint32_t>{0x4000, 0xC000, 0x4C91, 0x7FFF, 1, 0x7FFF, 1, 0}));
  EXPECT_EQ(format->largest({}), 0x1p56f);
}

TEST(Posit, TakesNoOptions) {
  EXPECT_NE(format_complaint("posit8", {{"rounding", std::string("stochastic")}}).find("rounding"),
            std::string::npos);
}

RC_GTEST_PROP(Posit, RoundingIsMonotoneAndIdempotent, ()) {
  const auto format = make_format(*rc::gen::element<std::string>("posit8", "posit16"));
  const float a = float_of(*rc::gen::arbitrary<std::uint32_t>());
  const float b = float_of(*rc::gen::arbitrary<std::uint32_t>());
  RC_PRE(std::isfinite(a) && std::isfinite(b));
  const auto once = decode(*format, encode(*format, std::vector{a, b}));
  RC_ASSERT((a <= b) <= (once[0] <= once[1]));
  RC_ASSERT(decode(*format, encode(*format, once)) == once);
}

}  // namespace
}  // namespace bitfall::posit_format_test
