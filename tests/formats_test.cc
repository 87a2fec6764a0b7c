// fp32, fp16, bf16 and int8, as plugins, against c10::Half, c10::BFloat16, _Float16 and NumPy.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>

#include "loaded_plugins.h"

#if __has_include(<c10/util/Half.h>) && __has_include(<c10/util/BFloat16.h>)
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#define BITFALL_C10 1
#else
#define BITFALL_C10 0
#endif

namespace bitfall {
namespace {

std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }
float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }

std::unique_ptr<NumberFormat> make_format(const std::string& id) {
  Diagnostics diagnostics("", "");
  auto format = first_party_plugins().make_format(plugin_choice(id), diagnostics);
  EXPECT_NE(format, nullptr) << id << diagnostics.render();
  return format;
}

std::vector<std::uint32_t> encode(const NumberFormat& format, std::span<const float> values,
                                  std::span<std::uint32_t> metadata = {}) {
  const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
  std::vector<std::uint32_t> codes(values.size());
  format.encode(values, {shape, 0}, metadata, codes);
  return codes;
}

std::vector<float> decode(const NumberFormat& format, std::span<const std::uint32_t> codes,
                          std::span<const std::uint32_t> metadata = {}) {
  const std::int64_t shape[] = {static_cast<std::int64_t>(codes.size())};
  std::vector<float> values(codes.size());
  format.decode(codes, {shape, 0}, metadata, values);
  return values;
}

std::vector<std::uint32_t> all_codes() {
  std::vector<std::uint32_t> codes(65536);
  for (std::uint32_t i = 0; i < 65536; ++i) codes[i] = i;
  return codes;
}

/// Every value halfway between two neighbouring 16-bit codes, Inf being the neighbour of the
/// largest finite one, with the float32 numbers just below and above, in both signs.
std::vector<float> ties_and_neighbours(const NumberFormat& format, std::uint32_t infinity) {
  std::vector<std::uint32_t> codes(infinity);
  for (std::uint32_t i = 0; i < infinity; ++i) codes[i] = i;
  const auto values = decode(format, codes);
  std::vector<float> result;
  for (std::uint32_t i = 0; i < infinity; ++i) {
    const double below = values[i];
    // The step above the largest finite code is as wide as the one below it.
    const double above = i + 1 < infinity ? values[i + 1] : 2 * below - values[i - 1];
    const auto tie = static_cast<float>((below + above) / 2);
    EXPECT_EQ(static_cast<double>(tie), (below + above) / 2);
    for (const float near :
         {std::nextafterf(tie, 0), tie, std::nextafterf(tie, INFINITY), values[i]}) {
      result.push_back(near);
      result.push_back(-near);
    }
  }
  return result;
}

/// All kinds of float32: specials, then bit patterns spread evenly over all 2^32.
std::vector<float> spread_floats() {
  std::vector<float> values = {
      0.0f,       -0.0f,      INFINITY,        -INFINITY,        0x1p-149f,
      0x1p-126f,  -0x1p-126f, 0x1.fffffep127f, -0x1.fffffep127f, 65504.0f,
      65519.996f, 65520.0f,   0x1p-24f,        0x1p-25f,         0x1.000002p-25f};
  for (std::uint64_t bits = 0; bits < (1ull << 32); bits += 4099) {
    values.push_back(float_of(static_cast<std::uint32_t>(bits)));
  }
  return values;
}

/// Compares encode with the oracle `code_of` bit for bit; of a NaN only that it stays one, with its
/// sign.
template <typename CodeOf>
void expect_encodes(const NumberFormat& format, std::uint32_t infinity,
                    std::span<const float> values, CodeOf code_of) {
  const auto codes = encode(format, values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) {
      ASSERT_GT(codes[i] & 0x7FFF, infinity) << std::hex << bits_of(values[i]);
      ASSERT_EQ(codes[i] >> 15, bits_of(values[i]) >> 31) << std::hex << bits_of(values[i]);
    } else {
      ASSERT_EQ(codes[i], code_of(values[i])) << std::hex << bits_of(values[i]);
    }
  }
}

template <typename ValueOf>
void expect_decodes(const NumberFormat& format, ValueOf value_of) {
  const auto codes = all_codes();
  const auto values = decode(format, codes);
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const float expected = value_of(static_cast<std::uint16_t>(codes[i]));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(values[i])) << std::hex << codes[i];
    } else {
      ASSERT_EQ(bits_of(values[i]), bits_of(expected)) << std::hex << codes[i];
    }
  }
}

/// Every single-bit flip of every code, by the route of a campaign: value, code, flip, value.
template <typename ValueOf>
void expect_flips(const NumberFormat& format, ValueOf value_of) {
  const auto codes = all_codes();
  const auto stored = encode(format, decode(format, codes));
  for (int bit = 0; bit < 16; ++bit) {
    auto flipped = stored;
    for (auto& code : flipped) code ^= 1u << bit;
    const auto values = decode(format, flipped);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      if (std::isnan(value_of(static_cast<std::uint16_t>(codes[i])))) continue;  // made quiet
      const float expected = value_of(static_cast<std::uint16_t>(codes[i] ^ (1u << bit)));
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(values[i])) << std::hex << codes[i] << " bit " << bit;
      } else {
        ASSERT_EQ(bits_of(values[i]), bits_of(expected)) << std::hex << codes[i] << " bit " << bit;
      }
    }
  }
}

#if BITFALL_C10
std::uint32_t half_code(float value) { return c10::Half(value).x; }
float half_value(std::uint16_t code) { return c10::Half(code, c10::Half::from_bits()); }
std::uint32_t bfloat16_code(float value) { return c10::BFloat16(value).x; }
float bfloat16_value(std::uint16_t code) { return c10::BFloat16(code, c10::BFloat16::from_bits()); }
#endif

void skip_without_c10() {
#if !BITFALL_C10
  GTEST_SKIP() << "PyTorch's headers were not found when this was configured";
#endif
}

TEST(Fp16, DecodesEveryCodeAsC10Half) {
  skip_without_c10();
#if BITFALL_C10
  expect_decodes(*make_format("fp16"), half_value);
#endif
}

TEST(Fp16, FlipsEveryBitOfEveryCodeAsC10Half) {
  skip_without_c10();
#if BITFALL_C10
  expect_flips(*make_format("fp16"), half_value);
#endif
}

TEST(Fp16, RoundsTiesAndTheirNeighboursAsC10Half) {
  skip_without_c10();
#if BITFALL_C10
  const auto format = make_format("fp16");
  expect_encodes(*format, 0x7C00, ties_and_neighbours(*format, 0x7C00), half_code);
#endif
}

TEST(Fp16, EncodesAllKindsOfFloatsAsC10Half) {
  skip_without_c10();
#if BITFALL_C10
  expect_encodes(*make_format("fp16"), 0x7C00, spread_floats(), half_code);
#endif
}

TEST(Bf16, DecodesEveryCodeAsC10BFloat16) {
  skip_without_c10();
#if BITFALL_C10
  expect_decodes(*make_format("bf16"), bfloat16_value);
#endif
}

TEST(Bf16, FlipsEveryBitOfEveryCodeAsC10BFloat16) {
  skip_without_c10();
#if BITFALL_C10
  expect_flips(*make_format("bf16"), bfloat16_value);
#endif
}

TEST(Bf16, RoundsTiesAndTheirNeighboursAsC10BFloat16) {
  skip_without_c10();
#if BITFALL_C10
  const auto format = make_format("bf16");
  expect_encodes(*format, 0x7F80, ties_and_neighbours(*format, 0x7F80), bfloat16_code);
#endif
}

TEST(Bf16, EncodesAllKindsOfFloatsAsC10BFloat16) {
  skip_without_c10();
#if BITFALL_C10
  expect_encodes(*make_format("bf16"), 0x7F80, spread_floats(), bfloat16_code);
#endif
}

#ifdef __FLT16_MAX__
__extension__ using Float16 = _Float16;

std::uint32_t compiler_code(float value) {
  return std::bit_cast<std::uint16_t>(static_cast<Float16>(value));
}
float compiler_value(std::uint16_t code) {
  return static_cast<float>(std::bit_cast<Float16>(code));
}

TEST(Fp16, AgreesWithTheCompilersFloat16) {
  const auto format = make_format("fp16");
  expect_decodes(*format, compiler_value);
  expect_flips(*format, compiler_value);
  expect_encodes(*format, 0x7C00, ties_and_neighbours(*format, 0x7C00), compiler_code);
  expect_encodes(*format, 0x7C00, spread_floats(), compiler_code);
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

/// decode(encode(decode(c))) == decode(c); of a NaN, all bits but the one that makes it quiet.
void expect_no_noise(const std::string& id, std::uint32_t infinity, std::uint32_t quiet_bit) {
  const auto format = make_format(id);
  const auto codes = all_codes();
  const auto again = encode(*format, decode(*format, codes));
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const bool nan = (codes[i] & 0x7FFF) > infinity;
    ASSERT_EQ(again[i], nan ? codes[i] | quiet_bit : codes[i]) << id << std::hex << codes[i];
  }
}

TEST(IeeeFormats, AddNoNoiseOfTheirOwn) {
  expect_no_noise("fp16", 0x7C00, 0x0200);
  expect_no_noise("bf16", 0x7F80, 0x0040);
}

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

struct Layout {
  const char* id;
  int mantissa;
  int exponent;
  float largest;
};

TEST(IeeeFormats, DescribeTheirRegisters) {
  for (const auto& [id, mantissa, exponent, largest] :
       {Layout{"fp32", 23, 8, std::numeric_limits<float>::max()}, Layout{"fp16", 10, 5, 65504.0f},
        Layout{"bf16", 7, 8, 0x1.FEp127f}}) {
    const auto format = make_format(id);
    ASSERT_EQ(format->registers().size(), 1u);
    const Register& payload = format->registers()[0];
    EXPECT_STREQ(payload.name, "payload");
    ASSERT_EQ(payload.bits, 1 + exponent + mantissa);
    for (int bit = 0; bit < payload.bits; ++bit) {
      const BitClass expected = bit < mantissa              ? BitClass::kMantissa
                                : bit < mantissa + exponent ? BitClass::kExponent
                                                            : BitClass::kSign;
      EXPECT_EQ(payload.bit_classes[bit], expected) << id << " bit " << bit;
    }
    EXPECT_EQ(format->largest({}), largest) << id;
    EXPECT_FALSE(format->calibrated());
    EXPECT_TRUE(format->elementwise());
    EXPECT_EQ(format->exact(), std::string(id) == "fp32");
  }
}

// --- int8 ---

struct Int8Vector {
  float maximum;
  float scale;
  float value;
  float decoded;
  int code;
};

/// Written by tests/make_format_vectors.py.
std::vector<Int8Vector> int8_vectors() {
  std::ifstream file(BITFALL_SOURCE_DIR "/tests/data/int8_vectors.csv");
  std::string line;
  std::getline(file, line);
  std::vector<Int8Vector> vectors;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::string field;
    const auto next_float = [&] {
      std::getline(fields, field, ',');
      return float_of(static_cast<std::uint32_t>(std::stoul(field, nullptr, 16)));
    };
    Int8Vector vector{};
    vector.maximum = next_float();
    vector.scale = next_float();
    vector.value = next_float();
    vector.decoded = next_float();
    std::getline(fields, field);
    vector.code = std::stoi(field);
    vectors.push_back(vector);
  }
  return vectors;
}

std::uint32_t calibrated_scale(const NumberFormat& format, Range range) {
  std::uint32_t metadata[1] = {};
  const std::int64_t shape[] = {3, 4};
  format.calibrate(range, shape, metadata);
  return metadata[0];
}

TEST(Int8, AgreesWithNumPy) {
  const auto format = make_format("int8");
  const auto vectors = int8_vectors();
  ASSERT_GT(vectors.size(), 700u);
  for (const auto& vector : vectors) {
    std::uint32_t scale = calibrated_scale(*format, {-vector.maximum, vector.maximum / 2});
    ASSERT_EQ(scale, bits_of(vector.scale)) << vector.maximum;
    const auto codes = encode(*format, std::vector{vector.value}, {&scale, 1});
    ASSERT_EQ(codes[0], static_cast<std::uint32_t>(vector.code) & 0xFF)
        << vector.value << " / " << vector.scale;
    ASSERT_EQ(bits_of(decode(*format, codes, {&scale, 1})[0]), bits_of(vector.decoded));
  }
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

}  // namespace
}  // namespace bitfall
