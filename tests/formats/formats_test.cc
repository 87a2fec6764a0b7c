// The floating-point formats, as plugins, against implementations that are not ours: the compiler's
// _Float16, PyTorch's c10 types, CUDA's headers, and vectors of ml_dtypes, gfloat and CUDA.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>

#include "float_codec.h"
#include "format_fixture.h"

#if __has_include(<c10/util/Float8_e4m3fn.h>) && __has_include(<c10/util/Float8_e5m2fnuz.h>)
#include <c10/util/BFloat16.h>
#include <c10/util/Float8_e4m3fn.h>
#include <c10/util/Float8_e4m3fnuz.h>
#include <c10/util/Float8_e5m2.h>
#include <c10/util/Float8_e5m2fnuz.h>
#include <c10/util/Half.h>
#define BITFALL_C10 1
#else
#define BITFALL_C10 0
#endif

#if __has_include(<cuda_fp4.h>) && __has_include(<nv/target>)
#include <cuda_fp16.h>
#include <cuda_fp4.h>
#include <cuda_fp6.h>
#include <cuda_fp8.h>
#define BITFALL_CUDA_HEADERS 1
#else
#define BITFALL_CUDA_HEADERS 0
#endif

namespace bitfall::formats_test {
namespace {

// Properties are checked on the same cases in every run.
const int kPropertySeed = setenv("RC_PARAMS", "seed=20231210 max_success=400", 0);

/// Sanitizers slow these loops down some thirty times.
#ifdef BITFALL_ASAN
constexpr std::size_t kManyFloats = std::size_t{1} << 18;
#else
constexpr std::size_t kManyFloats = std::size_t{1} << 24;
#endif

const FormatOptions kOverflowNan = {{"overflow", std::string("nan")}};
const FormatOptions kOverflowInf = {{"overflow", std::string("inf")}};

FormatOptions float_options(int exponent_bits, int mantissa_bits, int bias, const char* inf_nan,
                            const char* overflow = "auto", bool subnormals = true) {
  return {{"exponent_bits", std::int64_t{exponent_bits}},
          {"mantissa_bits", std::int64_t{mantissa_bits}},
          {"bias", std::int64_t{bias}},
          {"inf_nan", std::string(inf_nan)},
          {"overflow", std::string(overflow)},
          {"subnormals", subnormals}};
}

const std::vector<std::string> kFloatIds = {"fp32",     "tf32",     "fp16",         "bf16",
                                            "fp8_e4m3", "fp8_e5m2", "fp8_e4m3fnuz", "fp8_e5m2fnuz",
                                            "fp6_e3m2", "fp6_e2m3", "fp4_e2m1"};

/// An implementation by others of one format.
struct Oracle {
  const char* name;
  const char* id;
  FormatOptions options;
  std::uint32_t (*code_of)(float);
  float (*value_of)(std::uint32_t);
  bool nan_keeps_sign = false;
};

template <typename Type>
std::uint32_t code_by(float value) {
  return Type(value).x;
}
template <typename Type>
float value_by(std::uint32_t code) {
  return Type(static_cast<decltype(Type::x)>(code), Type::from_bits());
}

std::vector<Oracle> c10_oracles() {
#if BITFALL_C10
  using c10::BFloat16, c10::Half;
  using c10::Float8_e4m3fn, c10::Float8_e4m3fnuz, c10::Float8_e5m2, c10::Float8_e5m2fnuz;
  return {
      {"c10::Half", "fp16", {}, code_by<Half>, value_by<Half>, true},
      {"c10::BFloat16", "bf16", {}, code_by<BFloat16>, value_by<BFloat16>},
      // Its overflow has changed from NaN to the largest number.
      {"c10::Float8_e4m3fn", "fp8_e4m3",
       Float8_e4m3fn(1e9f).x == 0x7F ? kOverflowNan : FormatOptions{}, code_by<Float8_e4m3fn>,
       value_by<Float8_e4m3fn>},
      {"c10::Float8_e5m2", "fp8_e5m2", kOverflowInf, code_by<Float8_e5m2>, value_by<Float8_e5m2>},
      {"c10::Float8_e4m3fnuz", "fp8_e4m3fnuz", kOverflowNan, code_by<Float8_e4m3fnuz>,
       value_by<Float8_e4m3fnuz>},
      {"c10::Float8_e5m2fnuz", "fp8_e5m2fnuz", kOverflowNan, code_by<Float8_e5m2fnuz>,
       value_by<Float8_e5m2fnuz>},
  };
#else
  return {};
#endif
}

#if BITFALL_CUDA_HEADERS
float half_value(__half_raw half) { return __half2float(__half(half)); }

template <__nv_fp8_interpretation_t kKind, __nv_saturation_t kRange>
Oracle cuda_fp8(const char* name, const char* id, FormatOptions options) {
  return {
      name, id, std::move(options),
      [](float value) -> std::uint32_t { return __nv_cvt_float_to_fp8(value, kRange, kKind); },
      [](std::uint32_t code) {
        return half_value(__nv_cvt_fp8_to_halfraw(static_cast<__nv_fp8_storage_t>(code), kKind));
      }};
}

template <__nv_fp6_interpretation_t kKind>
Oracle cuda_fp6(const char* name, const char* id) {
  return {
      name,
      id,
      {},
      [](float value) -> std::uint32_t {
        return __nv_cvt_float_to_fp6(value, kKind, cudaRoundNearest);
      },
      [](std::uint32_t code) {
        return half_value(__nv_cvt_fp6_to_halfraw(static_cast<__nv_fp6_storage_t>(code), kKind));
      }};
}
#endif

std::vector<Oracle> cuda_oracles() {
#if BITFALL_CUDA_HEADERS
  return {
      cuda_fp8<__NV_E4M3, __NV_SATFINITE>("cuda_fp8.h, E4M3, SATFINITE", "fp8_e4m3", {}),
      cuda_fp8<__NV_E4M3, __NV_NOSAT>("cuda_fp8.h, E4M3, NOSAT", "fp8_e4m3", kOverflowNan),
      cuda_fp8<__NV_E5M2, __NV_SATFINITE>("cuda_fp8.h, E5M2, SATFINITE", "fp8_e5m2", {}),
      cuda_fp8<__NV_E5M2, __NV_NOSAT>("cuda_fp8.h, E5M2, NOSAT", "fp8_e5m2", kOverflowInf),
      cuda_fp6<__NV_E3M2>("cuda_fp6.h, E3M2", "fp6_e3m2"),
      cuda_fp6<__NV_E2M3>("cuda_fp6.h, E2M3", "fp6_e2m3"),
      {"cuda_fp4.h, E2M1",
       "fp4_e2m1",
       {},
       [](float value) -> std::uint32_t {
         return __nv_cvt_float_to_fp4(value, __NV_E2M1, cudaRoundNearest);
       },
       [](std::uint32_t code) {
         return half_value(
             __nv_cvt_fp4_to_halfraw(static_cast<__nv_fp4_storage_t>(code), __NV_E2M1));
       }},
  };
#else
  return {};
#endif
}

/// Bit for bit, but any NaN for a NaN.
::testing::AssertionResult same_number(float value, float expected) {
  if (bits_of(value) == bits_of(expected) || (std::isnan(value) && std::isnan(expected))) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << std::hexfloat << value << " is not " << expected;
}

/// One format compared with one oracle, and how many comparisons that was.
class Comparison {
 public:
  explicit Comparison(const Oracle& oracle)
      : oracle_(oracle),
        format_(make_format(oracle.id, oracle.options)),
        codes_(all_codes(format_->registers()[0].bits)) {}

  void run() {
    decodes();
    if (!::testing::Test::HasFatalFailure()) flips();
    if (!::testing::Test::HasFatalFailure()) encodes(ties());
    if (!::testing::Test::HasFatalFailure()) encodes(spread_floats());
    std::printf("%-28s %-12s %8zu comparisons\n", oracle_.name, oracle_.id, compared_);
  }

 private:
  void decodes() {
    const auto values = decode(*format_, codes_);
    for (std::size_t i = 0; i < codes_.size(); ++i) {
      ASSERT_TRUE(same_number(values[i], oracle_.value_of(codes_[i]))) << std::hex << codes_[i];
    }
    compared_ += codes_.size();
  }

  // Every single-bit flip of every code, by the route of a campaign: value, code, flip, value.
  void flips() {
    std::vector<float> values;
    std::vector<std::uint32_t> kept;
    const float largest = format_->largest({});
    for (const std::uint32_t code : codes_) {
      const float value = oracle_.value_of(code);
      if (std::isnan(value)) continue;  // stored as one of the quiet NaNs
      if (std::isinf(value) && !std::isinf(oracle_.value_of(oracle_.code_of(largest * 2)))) {
        continue;  // a saturating format does not store Inf
      }
      values.push_back(value);
      kept.push_back(code);
    }
    const auto stored = encode(*format_, values);
    for (int bit = 0; bit < format_->registers()[0].bits; ++bit) {
      auto flipped = stored;
      for (auto& code : flipped) code ^= 1u << bit;
      const auto after = decode(*format_, flipped);
      for (std::size_t i = 0; i < kept.size(); ++i) {
        ASSERT_TRUE(same_number(after[i], oracle_.value_of(kept[i] ^ (1u << bit))))
            << std::hex << kept[i] << " bit " << bit;
      }
    }
    compared_ += kept.size() * static_cast<std::size_t>(format_->registers()[0].bits);
  }

  // Every value halfway between two neighbours, the largest one's step being as wide above as
  // below, with the float32 numbers just below and above, in both signs.
  std::vector<float> ties() const {
    std::vector<float> result;
    for (std::uint32_t code = 0; code < codes_.size() / 2; ++code) {
      const double below = oracle_.value_of(code);
      if (!std::isfinite(below)) break;
      double above = code + 1 < codes_.size() / 2 ? oracle_.value_of(code + 1) : NAN;
      if (!std::isfinite(above)) above = 2 * below - oracle_.value_of(code - 1);
      const auto tie = static_cast<float>((below + above) / 2);
      EXPECT_EQ(static_cast<double>(tie), (below + above) / 2);
      for (const float near : {std::nextafterf(tie, 0), tie, std::nextafterf(tie, INFINITY),
                               static_cast<float>(below)}) {
        result.push_back(near);
        result.push_back(-near);
      }
    }
    return result;
  }

  void encodes(const std::vector<float>& values) {
    const auto codes = encode(*format_, values);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::uint32_t expected = oracle_.code_of(values[i]);
      if (std::isnan(oracle_.value_of(expected))) {
        ASSERT_TRUE(std::isnan(oracle_.value_of(codes[i]))) << std::hexfloat << values[i];
        if (oracle_.nan_keeps_sign) {
          ASSERT_EQ(codes[i] >> 15, bits_of(values[i]) >> 31) << std::hex << bits_of(values[i]);
        }
      } else {
        ASSERT_EQ(codes[i], expected) << std::hexfloat << values[i];
      }
    }
    compared_ += values.size();
  }

  const Oracle& oracle_;
  std::unique_ptr<NumberFormat> format_;
  std::vector<std::uint32_t> codes_;
  std::size_t compared_ = 0;
};

void expect_agreement(const std::vector<Oracle>& oracles) {
  for (const Oracle& oracle : oracles) {
    SCOPED_TRACE(oracle.name);
    Comparison(oracle).run();
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(FloatFormats, AgreeWithC10) {
  if (c10_oracles().empty()) {
    GTEST_SKIP() << "PyTorch's headers were not found when this was configured";
  }
  expect_agreement(c10_oracles());
}

TEST(FloatFormats, AgreeWithCudasHeaders) {
  if (cuda_oracles().empty()) {
    GTEST_SKIP() << "CUDA's headers were not found when this was configured; "
                    "AgreeWithVectors still covers them";
  }
  expect_agreement(cuda_oracles());
}

#ifdef __FLT16_MAX__
__extension__ using Float16 = _Float16;

std::uint32_t compiler_code(float value) {
  return std::bit_cast<std::uint16_t>(static_cast<Float16>(value));
}
float compiler_value(std::uint32_t code) {
  return static_cast<float>(std::bit_cast<Float16>(static_cast<std::uint16_t>(code)));
}

TEST(Fp16, AgreesWithTheCompilersFloat16) {
  expect_agreement({{"_Float16", "fp16", {}, compiler_code, compiler_value, true}});
}

/// x86's own conversion keeps the upper payload bits of a NaN and makes it quiet; so does _Float16
/// without it.
TEST(Fp16, EncodesNanPayloadsAsTheCompilersFloat16) {
  const auto format = make_format("fp16");
  std::vector<float> values;
  for (std::uint32_t payload = 1; payload < (1u << 23); payload += 61) {
    values.push_back(float_of(0x7F800000 | payload));
    values.push_back(float_of(0xFF800000 | payload));
  }
  const auto codes = encode(*format, values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(codes[i], compiler_code(values[i])) << std::hex << bits_of(values[i]);
  }
}
#endif

/// "fp8_e4m3" with "saturate", or "float:4,3,7,ieee" with "inf".
std::unique_ptr<NumberFormat> format_of_vector(const std::string& name,
                                               const std::string& overflow) {
  if (!name.starts_with("float:")) {
    if (overflow == "saturate") return make_format(name);
    return make_format(name, {{"overflow", overflow}});
  }
  std::istringstream facts(name.substr(6));
  int exponent_bits = 0, mantissa_bits = 0, bias = 0;
  char comma = 0;
  std::string inf_nan;
  facts >> exponent_bits >> comma >> mantissa_bits >> comma >> bias >> comma >> inf_nan;
  return make_format("float", float_options(exponent_bits, mantissa_bits, bias, inf_nan.c_str(),
                                            overflow.c_str()));
}

/// What ml_dtypes, gfloat and CUDA's headers agreed on (scripts/make_format_vectors.py).
TEST(FloatFormats, AgreeWithVectors) {
  auto file = format_vectors("float_vectors.txt");
  std::string kind, name, overflow, oracles;
  std::size_t count = 0, sections = 0;
  while (file >> kind >> name) {
    if (kind == "encode") file >> overflow;
    file >> oracles >> count;
    SCOPED_TRACE(kind + " " + name + " " + overflow + " by " + oracles);
    const auto format = format_of_vector(name, kind == "encode" ? overflow : "saturate");
    std::string word;
    for (std::size_t i = 0; i < count; ++i) {
      file >> word;
      if (kind == "decode") {
        const std::uint32_t code[] = {static_cast<std::uint32_t>(i)};
        ASSERT_TRUE(same_number(decode(*format, code)[0], float_of(hexadecimal(word)))) << i;
      } else {
        const float value[] = {float_of(hexadecimal(word.substr(0, 8)))};
        const auto expected = hexadecimal(word.substr(9));
        const auto code = encode(*format, value);
        if (std::isnan(decode(*format, {{expected}})[0])) {
          ASSERT_TRUE(std::isnan(decode(*format, code)[0])) << word;
        } else {
          ASSERT_EQ(code[0], expected) << word;
        }
      }
    }
    ++sections;
  }
  EXPECT_EQ(sections, 7 + 9 + 12u);
}

// --- A search over all codes, by definition ---

struct Layout {
  int exponent_bits, mantissa_bits, bias;
  std::string inf_nan, overflow;
  bool subnormals;

  std::uint32_t magnitudes() const { return 1u << (exponent_bits + mantissa_bits); }
  bool special(std::uint32_t magnitude) const {
    if (inf_nan == "ieee") return magnitude >= magnitudes() - (1u << mantissa_bits);
    return inf_nan == "nan_only" && magnitude == magnitudes() - 1;
  }
  long double number(std::uint32_t magnitude) const {
    const auto field = static_cast<int>(magnitude >> mantissa_bits);
    const long double fraction =
        static_cast<long double>(magnitude % (1u << mantissa_bits)) / (1u << mantissa_bits);
    return field == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1 + fraction, field - bias);
  }
  std::uint32_t largest() const {
    std::uint32_t magnitude = magnitudes() - 1;
    while (special(magnitude)) --magnitude;
    return magnitude;
  }
  // Unsigned; `largest() + 1` where it overflows.
  std::uint32_t nearest(long double size) const {
    for (std::uint32_t below = 0;; ++below) {
      const long double up = number(below + 1) - size, down = size - number(below);
      if (below > largest()) return below;
      if (down < up || (down == up && below % 2 == 0)) return below;
    }
  }
  float round(float value) const {
    const bool overflow_nan = overflow == "nan";
    const float largest_value = static_cast<float>(number(largest()));
    if (std::isnan(value)) return inf_nan == "none" ? largest_value : NAN;
    const float sign = std::signbit(value) ? -1.0f : 1.0f;
    const std::uint32_t magnitude =
        std::isinf(value) ? largest() + 1 : nearest(std::fabs(static_cast<long double>(value)));
    if (magnitude > largest()) {
      if (overflow_nan) return NAN;
      return sign * (overflow == "inf" ? INFINITY : largest_value);
    }
    float result = static_cast<float>(number(magnitude));
    if (!subnormals && magnitude < (1u << mantissa_bits)) result = 0;
    return inf_nan == "fnuz" && result == 0 ? 0.0f : sign * result;
  }
};

Layout drawn_layout() {
  Layout layout;
  layout.exponent_bits = *rc::gen::inRange(1, 9);
  layout.mantissa_bits = *rc::gen::inRange(0, 11 - layout.exponent_bits);
  layout.inf_nan = *rc::gen::element<std::string>("ieee", "nan_only", "fnuz", "none");
  layout.subnormals = *rc::gen::inRange(0, 4) > 0;
  std::vector<std::string> overflows = {"saturate"};
  if (layout.inf_nan == "ieee") overflows.push_back("inf");
  if (layout.inf_nan != "none") overflows.push_back("nan");
  layout.overflow = *rc::gen::elementOf(overflows);
  layout.bias = 0;
  RC_PRE(layout.inf_nan != "ieee" || layout.mantissa_bits > 0);
  RC_PRE(layout.largest() >= (layout.subnormals ? 1u : 1u << layout.mantissa_bits));
  const int top = static_cast<int>(layout.largest() >> layout.mantissa_bits);
  layout.bias = *rc::gen::inRange(std::max(top, 1) - 127, 151 - layout.mantissa_bits);
  return layout;
}

/// Near the format's numbers and ties, or anything.
float drawn_value(const Layout& layout) {
  if (*rc::gen::inRange(0, 5) == 0) return float_of(*rc::gen::arbitrary<std::uint32_t>());
  const auto code = *rc::gen::inRange<std::uint32_t>(0, layout.largest() + 2);
  const long double size =
      (layout.number(code) + layout.number(code + *rc::gen::inRange(0, 2))) / 2;
  auto bits = bits_of(static_cast<float>(size)) + *rc::gen::inRange<std::uint32_t>(0, 3);
  if (bits > 0) bits -= 1;
  return float_of(bits | (*rc::gen::inRange(0, 2) ? 0x80000000u : 0u));
}

TEST(FloatFormat, RoundsAsASearchOverAllCodes) {
  std::size_t compared = 0;
  EXPECT_TRUE(rc::check("float rounds to the nearest code", [&] {
    const Layout layout = drawn_layout();
    const auto format = make_format(
        "float", float_options(layout.exponent_bits, layout.mantissa_bits, layout.bias,
                               layout.inf_nan.c_str(), layout.overflow.c_str(), layout.subnormals));
    for (int i = 0; i < 60; ++i) {
      const float value = drawn_value(layout);
      const auto code = encode(*format, {{value}});
      const auto rounded = decode(*format, code)[0];
      // Codes that a format without subnormals reads as 0 are not written either.
      const std::uint32_t magnitude = code[0] % layout.magnitudes();
      RC_ASSERT(layout.subnormals || magnitude == 0 || magnitude >= 1u << layout.mantissa_bits);
      RC_ASSERT(same_number(rounded, layout.round(value)));
      ++compared;
    }
    for (std::uint32_t code = 0; code <= layout.largest(); ++code) {
      const bool zero = !layout.subnormals && code < (1u << layout.mantissa_bits);
      const auto expected = zero ? 0.0f : static_cast<float>(layout.number(code));
      RC_ASSERT(same_number(decode(*format, {{code}})[0], expected));
      ++compared;
    }
  }));
  std::printf("a search over all codes      float        %8zu comparisons\n", compared);
}

TEST(FloatFormat, RefusesWhatFloat32CannotHold) {
  const auto refused = [](const FormatOptions& options) {
    return format_complaint("float", options);
  };
  EXPECT_NE(refused(float_options(8, 7, 126, "ieee"))
                .find("bias: 126 gives numbers that float32 does not have; allowed: 127 to 143"),
            std::string::npos)
      << refused(float_options(8, 7, 126, "ieee"));
  EXPECT_NE(refused(float_options(4, 3, 148, "ieee")).find("allowed: -113 to 147"),
            std::string::npos);
  EXPECT_EQ(refused(float_options(4, 3, 147, "ieee")), "");
  EXPECT_EQ(refused(float_options(4, 3, -113, "ieee")), "");
  EXPECT_NE(refused(float_options(4, 0, 7, "ieee")).find("mantissa_bits"), std::string::npos);
  EXPECT_NE(refused(float_options(4, 3, 7, "none", "nan")).find("overflow"), std::string::npos);
  EXPECT_NE(refused(float_options(4, 3, 7, "fnuz", "inf")).find("overflow"), std::string::npos);
  EXPECT_NE(refused(float_options(1, 0, 0, "nan_only")).find("exponent_bits"), std::string::npos);
  EXPECT_NE(refused(float_options(1, 3, 0, "ieee", "auto", false)).find("exponent_bits"),
            std::string::npos);
}

TEST(FloatFormat, IsTheNamedFormatsByTheirFacts) {
  const auto values = spread_floats(1 << 18);
  const auto expect_same = [&](const char* id, const FormatOptions& facts) {
    EXPECT_EQ(encode(*make_format(id), values), encode(*make_format("float", facts), values)) << id;
  };
  expect_same("fp32", float_options(8, 23, 127, "ieee"));
  expect_same("fp16", float_options(5, 10, -127, "ieee"));
  expect_same("bf16", float_options(8, 7, -127, "ieee", "inf"));
  expect_same("fp8_e4m3", float_options(4, 3, -127, "nan_only"));
  expect_same("fp8_e5m2", float_options(5, 2, -127, "ieee", "saturate"));
  expect_same("fp8_e4m3fnuz", float_options(4, 3, 8, "fnuz"));
  expect_same("fp6_e3m2", float_options(3, 2, -127, "none"));
  expect_same("fp4_e2m1", float_options(2, 1, -127, "none"));
  EXPECT_TRUE(make_format("float", float_options(8, 23, -127, "ieee"))->exact());
}

// --- Wide formats ---

TEST(Fp32, KeepsEveryBit) {
  const auto format = make_format("fp32");
  std::vector<float> values = spread_floats();
  values.push_back(float_of(0x7F800001));  // a signalling NaN
  const auto codes = encode(*format, values);
  const auto again = decode(*format, codes);
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(codes[i], bits_of(values[i]));
    ASSERT_EQ(bits_of(again[i]), bits_of(values[i]));
  }
}

/// All exponents, both signs and a spread of fractions; every single-bit flip of each, against the
/// bits of a float. `dropped` low bits of a float are not stored.
void expect_flips_of_float_bits(const std::string& id, int dropped) {
  const auto format = make_format(id);
  std::vector<float> values;
  for (std::uint32_t upper = 0; upper < 512; ++upper) {
    for (const std::uint32_t fraction : {0u, 1u, 0x2AAAAAu, 0x400000u, 0x5A5A5Au, 0x7FFFFFu}) {
      const std::uint32_t bits = upper << 23 | (fraction >> dropped << dropped);
      if (!std::isnan(float_of(bits)) || fraction >= 0x400000u) values.push_back(float_of(bits));
    }
  }
  const auto stored = encode(*format, values);
  std::size_t compared = 0;
  for (int bit = 0; bit < 32 - dropped; ++bit) {
    auto flipped = stored;
    for (auto& code : flipped) code ^= 1u << bit;
    const auto after = decode(*format, flipped);
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(bits_of(after[i]), bits_of(values[i]) ^ (1u << (bit + dropped)))
          << id << " " << std::hex << bits_of(values[i]) << " bit " << bit;
      ++compared;
    }
  }
  std::printf("%-28s %-12s %8zu comparisons\n", "bits of a float", id.c_str(), compared);
}

TEST(Fp32, FlipsTheBitsOfAFloat) { expect_flips_of_float_bits("fp32", 0); }
TEST(Tf32, FlipsTheBitsOfAFloat) { expect_flips_of_float_bits("tf32", 13); }

/// By the compiler's double: scaled so that the last place is 1, rounded by std::nearbyint.
TEST(Tf32, RoundsAsDoubleArithmetic) {
  const auto format = make_format("tf32");
  const auto values = spread_floats();
  const auto rounded = decode(*format, encode(*format, values));
  for (std::size_t i = 0; i < values.size(); ++i) {
    float expected = values[i];
    if (std::isfinite(values[i]) && values[i] != 0) {
      const int exponent = std::max(std::ilogb(values[i]), -126);
      const double scaled = std::nearbyint(std::ldexp(double{values[i]}, 10 - exponent));
      const double result = std::ldexp(scaled, exponent - 10);
      expected = std::fabs(result) >= 0x1p128 ? std::copysign(INFINITY, values[i])
                                              : static_cast<float>(result);
    }
    ASSERT_TRUE(same_number(rounded[i], expected)) << std::hexfloat << values[i];
  }
}

// --- What holds of all of them ---

std::vector<std::unique_ptr<NumberFormat>> all_float_formats() {
  std::vector<std::unique_ptr<NumberFormat>> formats;
  for (const auto& id : kFloatIds) formats.push_back(make_format(id));
  for (const char* id : {"fp8_e4m3", "fp8_e4m3fnuz", "fp8_e5m2fnuz"}) {
    formats.push_back(make_format(id, kOverflowNan));
  }
  formats.push_back(make_format("fp8_e5m2", kOverflowInf));
  for (const auto& options :
       {float_options(5, 10, 15, "ieee", "inf", false),
        float_options(4, 3, 8, "fnuz", "nan", false), float_options(3, 0, 3, "none"),
        float_options(4, 3, 140, "nan_only"), float_options(8, 2, 128, "fnuz"),
        float_options(4, 3, -110, "ieee", "nan", false)}) {
    formats.push_back(make_format("float", options));
  }
  return formats;
}

/// decode(encode(decode(c))) == decode(c), and a code that is not a NaN is its value's code.
TEST(FloatFormats, AddNoNoiseOfTheirOwn) {
  for (const auto& id : kFloatIds) {
    const auto format = make_format(id);
    if (format->registers()[0].bits > 16) continue;
    const auto codes = all_codes(format->registers()[0].bits);
    const auto values = decode(*format, codes);
    const auto again = encode(*format, values);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      // Inf saturates in a saturating format that has it.
      if (std::isnan(values[i]) || (std::isinf(values[i]) && id == "fp8_e5m2")) continue;
      ASSERT_EQ(again[i], codes[i]) << id;
    }
  }
}

TEST(IeeeFormats, KeepTheBitsOfNanCodesAndMakeThemQuiet) {
  for (const auto& [id, infinity, quiet] :
       {std::tuple{"fp16", 0x7C00u, 0x0200u}, std::tuple{"bf16", 0x7F80u, 0x0040u}}) {
    const auto format = make_format(id);
    const auto codes = all_codes(16);
    const auto again = encode(*format, decode(*format, codes));
    for (std::size_t i = 0; i < codes.size(); ++i) {
      if ((codes[i] & 0x7FFF) <= infinity) continue;
      ASSERT_EQ(again[i], codes[i] | quiet) << id;
    }
  }
}

/// Every exponent, both signs, NaN payloads: the numbers' bits are spread evenly.
TEST(FloatFormats, EmulateAsDecodeOfEncode) {
  std::vector<float> values(1 << 16);
  const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
  std::vector<std::uint32_t> codes(values.size());
  for (const auto& format : all_float_formats()) {
    const std::size_t step = (std::size_t{1} << 32) / kManyFloats;
    for (std::size_t start = 0; start < kManyFloats; start += values.size()) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::size_t low = (start + i) * 2654435761u % step;
        values[i] = float_of(static_cast<std::uint32_t>((start + i) * step + low));
      }
      format->encode(values, {shape}, {}, codes);
      format->emulate(values, {shape}, {});
      std::vector<float> expected(values.size());
      format->decode(codes, {shape}, {}, expected);
      for (std::size_t i = 0; i < values.size(); ++i) {
        ASSERT_EQ(bits_of(values[i]), bits_of(expected[i]))
            << format->registers()[0].bits << " bits, input " << std::hex << (start + i) * step;
      }
    }
  }
}

TEST(FloatFormats, RoundMonotonouslyAndOnce) {
  EXPECT_TRUE(rc::check("x <= y gives round(x) <= round(y); rounding again changes nothing", [] {
    const auto id = *rc::gen::elementOf(kFloatIds);
    const auto format = make_format(id);
    float x = float_of(*rc::gen::arbitrary<std::uint32_t>());
    float y = *rc::gen::inRange(0, 2) ? float_of(*rc::gen::arbitrary<std::uint32_t>())
                                      : std::nextafterf(x, INFINITY);
    RC_PRE(!std::isnan(x) && !std::isnan(y));
    if (y < x) std::swap(x, y);
    const auto once = decode(*format, encode(*format, {{x, y}}));
    RC_ASSERT(once[0] <= once[1]);
    const auto twice = decode(*format, encode(*format, once));
    if (id != "fp8_e5m2" || std::isfinite(once[1]))
      RC_ASSERT(bits_of(once[1]) == bits_of(twice[1]));
    RC_ASSERT(bits_of(once[0]) == bits_of(twice[0]));
  }));
}

TEST(FloatFormats, AreThemselvesAfterTwoFlips) {
  EXPECT_TRUE(rc::check("flip, store, flip back", [] {
    const auto format = make_format(*rc::gen::elementOf(kFloatIds));
    const int bits = format->registers()[0].bits;
    const auto code =
        *rc::gen::inRange<std::uint32_t>(0, static_cast<std::uint32_t>(~0u >> (32 - bits)));
    const auto mask = 1u << *rc::gen::inRange(0, bits);
    const auto value = decode(*format, {{code}})[0];
    const auto damaged = decode(*format, {{code ^ mask}})[0];
    RC_PRE(std::isfinite(value) && std::isfinite(damaged));
    const auto stored = encode(*format, {{damaged}})[0];
    RC_ASSERT(bits_of(decode(*format, {{stored ^ mask}})[0]) == bits_of(value));
  }));
}

TEST(FloatFormats, SaturateWhereTheyCannotOverflow) {
  for (const auto& id : kFloatIds) {
    const auto format = make_format(id);
    if (std::string(format->traits().overflow) != "saturates") continue;
    const float largest = format->largest({});
    const auto values = decode(
        *format, encode(*format, {{INFINITY, -INFINITY, largest * 2, -largest * 1000, 3e38f}}));
    EXPECT_EQ(values, (std::vector<float>{largest, -largest, largest, -largest, largest})) << id;
  }
}

TEST(FloatFormats, GiveALargestNumberForANanWithoutACode) {
  for (const char* id : {"fp6_e3m2", "fp6_e2m3", "fp4_e2m1"}) {
    const auto format = make_format(id);
    EXPECT_STREQ(format->traits().nan, "largest");
    const float nan = float_of(0xFFC00000);  // the sign is dropped
    EXPECT_EQ(decode(*format, encode(*format, {{nan, NAN}})),
              (std::vector<float>{format->largest({}), format->largest({})}));
  }
}

struct Facts {
  const char* id;
  int exponent, mantissa;
  double largest, smallest_normal, smallest;
  const char *overflow, *nan;
};

TEST(FloatFormats, DescribeThemselves) {
  for (const auto& [id, exponent, mantissa, largest, smallest_normal, smallest, overflow, nan] :
       {Facts{"fp32", 8, 23, 0x1.fffffep127, 0x1p-126, 0x1p-149, "Inf", "NaN"},
        Facts{"tf32", 8, 10, 0x1.ffcp127, 0x1p-126, 0x1p-136, "Inf", "NaN"},
        Facts{"fp16", 5, 10, 65504, 0x1p-14, 0x1p-24, "Inf", "NaN"},
        Facts{"bf16", 8, 7, 0x1.FEp127, 0x1p-126, 0x1p-133, "Inf", "NaN"},
        Facts{"fp8_e4m3", 4, 3, 448, 0x1p-6, 0x1p-9, "saturates", "NaN"},
        Facts{"fp8_e5m2", 5, 2, 57344, 0x1p-14, 0x1p-16, "saturates", "NaN"},
        Facts{"fp8_e4m3fnuz", 4, 3, 240, 0x1p-7, 0x1p-10, "saturates", "NaN"},
        Facts{"fp8_e5m2fnuz", 5, 2, 57344, 0x1p-15, 0x1p-17, "saturates", "NaN"},
        Facts{"fp6_e3m2", 3, 2, 28, 0.25, 0.0625, "saturates", "largest"},
        Facts{"fp6_e2m3", 2, 3, 7.5, 1, 0.125, "saturates", "largest"},
        Facts{"fp4_e2m1", 2, 1, 6, 1, 0.5, "saturates", "largest"}}) {
    SCOPED_TRACE(id);
    const auto format = make_format(id);
    ASSERT_EQ(format->registers().size(), 1u);
    const Register& payload = format->registers()[0];
    EXPECT_STREQ(payload.name, "payload");
    ASSERT_EQ(payload.bits, 1 + exponent + mantissa);
    ASSERT_EQ(payload.bit_classes.size(), static_cast<std::size_t>(payload.bits));
    for (int bit = 0; bit < payload.bits; ++bit) {
      const BitClass expected = bit < mantissa              ? BitClass::kMantissa
                                : bit < mantissa + exponent ? BitClass::kExponent
                                                            : BitClass::kSign;
      EXPECT_EQ(payload.bit_classes[static_cast<std::size_t>(bit)], expected) << bit;
    }
    const FormatTraits traits = format->traits();
    EXPECT_EQ(traits.largest, largest);
    EXPECT_EQ(traits.smallest_normal, smallest_normal);
    EXPECT_EQ(traits.smallest, smallest);
    EXPECT_STREQ(traits.overflow, overflow);
    EXPECT_STREQ(traits.nan, nan);
    EXPECT_STRNE(traits.oracle, "");
    EXPECT_EQ(format->largest({}), static_cast<float>(largest));
    EXPECT_FALSE(format->calibrated());
    EXPECT_TRUE(format->elementwise());
    EXPECT_EQ(format->exact(), std::string(id) == "fp32");
  }
}

// --- Stochastic rounding ---

std::vector<std::string> stochastic_ids() {
  return {kFloatIds.begin() + 1, kFloatIds.end()};  // fp32 rounds nothing
}

TEST(StochasticRounding, DrawsTheSameForAnElementHoweverItIsStored) {
  const std::int64_t shape[] = {10, 100};
  std::vector<float> values(1000);
  std::mt19937 random(3);
  for (float& value : values) value = std::normal_distribution<float>()(random);
  for (const auto& id : stochastic_ids()) {
    const auto format = make_format(id, stochastic(7));
    std::vector<std::uint32_t> whole(values.size());
    format->encode(values, {shape, 0, 1, 42}, {}, whole);
    auto emulated = values;
    format->emulate(emulated, {shape, 0, 1, 42}, {});
    EXPECT_EQ(emulated, decode(*format, whole)) << id;
    for (std::int64_t element = 0; element < 1000; element += 37) {
      std::uint32_t code = 0;
      const auto at = static_cast<std::size_t>(element);
      format->encode({&values[at], 1}, {shape, element, 1, 42}, {}, {&code, 1});
      ASSERT_EQ(code, whole[at]) << id;
    }
    std::vector<float> column;
    for (std::size_t i = 5; i < values.size(); i += 100) column.push_back(values[i]);
    std::vector<std::uint32_t> codes(column.size());
    format->encode(column, {shape, 5, 100, 42}, {}, codes);
    for (std::size_t i = 0; i < codes.size(); ++i) ASSERT_EQ(codes[i], whole[5 + i * 100]) << id;

    std::vector<std::uint32_t> other(values.size());
    format->encode(values, {shape, 0, 1, 43}, {}, other);
    EXPECT_NE(other, whole) << id << ": another image draws anew";
    EXPECT_NE(encode(*make_format(id, stochastic(8)), values, {}, 42), whole) << id;
  }
}

TEST(StochasticRounding, LeavesNumbersOfTheFormatAlone) {
  for (const auto& id : stochastic_ids()) {
    const auto format = make_format(id, stochastic(1));
    const auto nearest = make_format(id);
    const int bits = format->registers()[0].bits;
    auto values = decode(*nearest, all_codes(std::min(bits, 16)));
    std::erase_if(values, [](float value) { return !std::isfinite(value); });
    EXPECT_EQ(decode(*format, encode(*format, values)), values) << id;
  }
}

/// Not even for the draws that come once in 2^24 or 2^32 elements.
TEST(StochasticRounding, LeavesNumbersAloneForTheExtremeDraws) {
  for (const FloatLayout& layout :
       {FloatLayout{5, 10, 15}, FloatLayout{8, 7, 127},
        FloatLayout{4, 3, 140, Specials::kNanOnly, Overflow::kSaturate}}) {
    const FloatCodec<double> wide(layout);
    for (std::int32_t number = 0; number <= layout.largest_code(); ++number) {
      const auto code = static_cast<std::uint32_t>(number);
      const auto value = static_cast<float>(layout.value(number));
      for (const std::uint32_t draw : {0u, 1u, 0xFFu, 0x100u, 0xFFFFFF00u, ~0u}) {
        ASSERT_EQ(wide.encode(value, draw), code) << draw;
        if (!FloatCodec<float>::serves(layout)) continue;
        ASSERT_EQ(FloatCodec<float>(layout).encode(value, draw), code) << draw;
      }
    }
  }
}

/// The mean of n draws between two neighbours a step apart errs by less than 5 sigma, and sigma is
/// at most step / 2 / sqrt(n); and only the two neighbours occur.
TEST(StochasticRounding, IsRightOnAverage) {
  constexpr int kDraws = 1 << 16;
  const auto check = [](const NumberFormat& format, double low, double high) {
    for (const double share : {0.03, 0.25, 0.5, 0.77, 0.999}) {
      const auto value = static_cast<float>(low + share * (high - low));
      const auto rounded = decode(format, encode(format, std::vector<float>(kDraws, value)));
      double sum = 0;
      for (const float result : rounded) {
        ASSERT_TRUE(result == low || result == high) << result << " for " << value;
        sum += result;
      }
      const double step = high - low, p = (value - low) / step;
      EXPECT_NEAR((sum / kDraws - value) / step, 0, 5 * std::sqrt(p * (1 - p) / kDraws)) << value;
    }
  };
  for (const auto& id : stochastic_ids()) {
    SCOPED_TRACE(id);
    const auto format = make_format(id, stochastic(5));
    const auto nearest = make_format(id);
    const int mantissa = static_cast<int>(std::count(nearest->registers()[0].bit_classes.begin(),
                                                     nearest->registers()[0].bit_classes.end(),
                                                     BitClass::kMantissa));
    // Among the subnormals, across the smallest normal, and among the normals.
    for (const std::uint32_t code : {0u, 1u, (1u << mantissa) - 1, (1u << mantissa) + 1}) {
      const auto pair = decode(*nearest, {{code, code + 1}});
      check(*format, pair[0], pair[1]);
    }
  }
}

TEST(StochasticRounding, DiffersFromPlaceToPlace) {
  // 2^16 elements of two streams, half way between two numbers: both independent fair coins.
  const auto format = make_format("fp8_e4m3", stochastic(9));
  const std::vector<float> values(1 << 16, 1.0625f);
  const auto one = encode(*format, values, {}, 1), two = encode(*format, values, {}, 2);
  int up = 0, same = 0, runs = 0;
  for (std::size_t i = 0; i < one.size(); ++i) {
    up += one[i] != one[0];
    same += one[i] == two[i];
    runs += i > 0 && one[i] == one[i - 1];
  }
  const double sigma = std::sqrt(65536.0) / 2;
  EXPECT_NEAR(up, 32768, 5 * sigma);
  EXPECT_NEAR(same, 32768, 5 * sigma);
  EXPECT_NEAR(runs, 32768, 5 * sigma);
}

}  // namespace
}  // namespace bitfall::formats_test
