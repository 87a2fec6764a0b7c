// `bitfall convert`: words, rows, flips, metadata, pieces of long streams, and bad input.
#include "convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "component_choice.h"
#include "error.h"
#include "format_fixture.h"
#include "numbers.h"

namespace bitfall::convert_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
__extension__ using Float16 = _Float16;  // the compiler's own binary16: the oracle of fp16

using Row = std::map<std::string, std::string>;

std::vector<std::string> parts(const std::string& text, char separator) {
  std::vector<std::string> all;
  std::stringstream in(text);
  for (std::string part; std::getline(in, part, separator);) all.push_back(part);
  return all;
}

/// Tab-separated lines below a header, by column.
std::vector<Row> rows_of(const std::string& text) {
  const auto lines = parts(text, '\n');
  const auto columns = parts(lines.at(0), '\t');
  std::vector<Row> rows;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto cells = parts(lines[i], '\t');
    EXPECT_EQ(cells.size(), columns.size()) << lines[i];
    Row row;
    for (std::size_t c = 0; c < columns.size(); ++c) row[columns[c]] = cells.at(c);
    rows.push_back(std::move(row));
  }
  return rows;
}

/// What a format makes of a text that comes as a stream.
std::string streamed(const NumberFormat& format, const ByteSource& input,
                     const ConvertOptions& options = {}) {
  std::string text;
  convert({format, "f", "a format"}, options, input, "input",
          [&](std::string_view piece) { text += piece; });
  return text;
}

std::string streamed(const NumberFormat& format, const std::string& input,
                     const ConvertOptions& options = {}) {
  return streamed(format, text_source(input), options);
}

std::vector<Row> converted(const NumberFormat& format, const std::string& input,
                           const ConvertOptions& options = {}) {
  return rows_of(streamed(format, input, options));
}

ConvertOptions flips(std::vector<std::string> texts) {
  ConvertOptions options;
  options.flips = std::move(texts);
  return options;
}

ConvertOptions codes(std::vector<std::string> metadata = {}) {
  ConvertOptions options;
  options.codes = true;
  options.metadata = std::move(metadata);
  return options;
}

std::uint32_t code_of(const Row& row) { return hexadecimal(row.at("code")); }

/// The column's number; "nan" and "inf" too.
float number(const Row& row, const std::string& column) {
  return std::strtof(row.at(column).c_str(), nullptr);
}

Float16 half_of(std::uint32_t code) {
  return std::bit_cast<Float16>(static_cast<std::uint16_t>(code));
}

std::uint32_t half_code(float value) {
  return std::bit_cast<std::uint16_t>(static_cast<Float16>(value));
}

::testing::AssertionResult same_number(float a, float b) {
  if (bits_of(a) == bits_of(b) || (std::isnan(a) && std::isnan(b))) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << exact_text(a) << " is not " << exact_text(b);
}

/// The message of the Error with this code that an action must throw.
std::string refusal(ExitCode code, const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

std::string usage_refusal(const NumberFormat& format, const ConvertOptions& options) {
  return refusal(ExitCode::kUsage, [&] { streamed(format, "1", options); });
}

std::string input_refusal(const std::string& id, const std::string& text,
                          const ConvertOptions& options = {}) {
  const auto format = make_format(id);
  return refusal(ExitCode::kInput, [&] { streamed(*format, text, options); });
}

/// Two's complement of 8 bits times 2^(scale - 8), in blocks of three values; the scale is that of
/// the block's largest magnitude.
class Threes final : public NumberFormat {
 public:
  View<const Register> registers() const override { return kRegisters; }
  std::int64_t register_count(int index, View<const std::int64_t> shape) const override {
    return index == 1 ? (element_count(shape) + 2) / 3 : 0;
  }
  bool elementwise() const override { return false; }
  ElementRun block(std::int64_t element, View<const std::int64_t> shape) const override {
    const std::int64_t first = element / 3 * 3;
    return {first, std::min<std::int64_t>(3, element_count(shape) - first), 1};
  }
  void encode(View<const float> values, const Slice&, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i % 3 == 0) {
        float largest = 0;
        for (std::size_t j = i; j < std::min(i + 3, values.size()); ++j) {
          largest = std::max(largest, std::fabs(values[j]));
        }
        std::uint32_t scale = 0;
        while (scale < 15 && std::ldexp(127.0f, static_cast<int>(scale) - 8) < largest) ++scale;
        metadata[i / 3] = scale;
      }
      const float steps = std::ldexp(values[i], 8 - static_cast<int>(metadata[i / 3]));
      codes[i] = static_cast<std::uint32_t>(std::lrint(steps)) & 0xFF;
    }
  }
  void decode(View<const std::uint32_t> codes, const Slice&, View<const std::uint32_t> metadata,
              View<float> values) const override {
    for (std::size_t i = 0; i < codes.size(); ++i) {
      values[i] = std::ldexp(static_cast<float>(static_cast<std::int8_t>(codes[i])),
                             static_cast<int>(metadata[i / 3]) - 8);
    }
  }
  double metadata_value(int, std::uint32_t code) const override {
    return std::ldexp(1.0, static_cast<int>(code) - 8);
  }
  float largest(View<const std::uint32_t>) const override { return 128 * 128; }

 private:
  static constexpr BitClass kValue = BitClass::kMantissa, kScale = BitClass::kMetadata;
  static constexpr BitClass kPayloadBits[] = {kValue, kValue, kValue, kValue,
                                              kValue, kValue, kValue, BitClass::kSign};
  static constexpr BitClass kScaleBits[] = {kScale, kScale, kScale, kScale};
  static constexpr Register kRegisters[] = {{"payload", 8, kPayloadBits}, {"scale", 4, kScaleBits}};
};

TEST(Real, ReadsWhatStrtofReads) {
  std::mt19937 random(20231210);
  std::uniform_int_distribution<std::uint32_t> any;
  for (int i = 0; i < 20000; ++i) {
    const double value = i % 2 ? float_of(any(random))
                               : std::ldexp(any(random), static_cast<int>(any(random) % 400) - 230);
    char text[64];
    std::snprintf(text, sizeof text, i % 3 ? "%.*e" : "%.*a", static_cast<int>(any(random) % 20),
                  value);
    const auto read = parse_real(text);
    ASSERT_TRUE(read) << text;
    ASSERT_TRUE(same_number(*read, std::strtof(text, nullptr))) << text;
  }
  for (const char* text :
       {"0",     "-0",     "+1.5",  ".5",       "5.",       "1e5",     "0x1.8p3",  "0X.8P-1",
        "-0x2",  "inf",    "-INF",  "Infinity", "nan",      "NaN",     "1e39",     "-1e39",
        "1e-50", "-1e-46", "7e-46", "8e-46",    "0x1p-149", "1e99999", "-0x1p999", "16777217"}) {
    const auto read = parse_real(text);
    ASSERT_TRUE(read) << text;
    EXPECT_TRUE(same_number(*read, std::strtof(text, nullptr))) << text;
  }
}

TEST(Real, RefusesOtherWords) {
  for (const char* text :
       {"",    "+",  "-",     "--1", "+-1",     "-+1", "1x",  "x",   "0x",    "0x-1", "0xinf",
        "1_0", "1e", "1.2.3", "e5",  "infinit", "0b1", "1 2", "0xg", "\"1\"", "1;"}) {
    EXPECT_FALSE(parse_real(text)) << text;
  }
}

TEST(Code, IsHexadecimalOrBinary) {
  EXPECT_EQ(parse_code("3e00"), 0x3e00u);
  EXPECT_EQ(parse_code("0xFFffFFff"), 0xffffffffu);
  EXPECT_EQ(parse_code("0b101"), 5u);
  EXPECT_EQ(parse_code("0b"), 0xbu);  // no digit behind it: hexadecimal
  for (const char* text : {"", "0x", "0b2", "-1", "1.5", "g", "100000000", "0x 1"}) {
    EXPECT_FALSE(parse_code(text)) << text;
  }
}

TEST(WordReader, GivesTheSameWordsHoweverTheTextIsCut) {
  std::string text = "\xEF\xBB\xBF 1,2\t3\r\n\n,,4";
  for (int i = 0; i < 40000; ++i) text += " " + std::to_string(i * 37);
  const auto words_of = [](const ByteSource& source) {
    WordReader reader(source, "text", WordReader::Places::kLines);
    std::vector<std::string> words;
    while (reader.read([&](std::string_view word) { words.emplace_back(word); })) {
    }
    return words;
  };
  const auto whole = words_of(text_source(text));
  ASSERT_EQ(whole.size(), 40004u);
  EXPECT_THAT(std::vector(whole.begin(), whole.begin() + 5), ElementsAre("1", "2", "3", "4", "0"));
  EXPECT_EQ(whole.back(), std::to_string(39999 * 37));
  for (const std::size_t most : {3, 7, 4095, 65536}) {
    auto rest = text_source(text);
    EXPECT_EQ(words_of([&](std::span<char> buffer) {
                return rest(buffer.first(std::min(most, buffer.size())));
              }),
              whole)
        << most;
  }
}

TEST(WordReader, NamesLineAndColumn) {
  EXPECT_THAT(input_refusal("fp16", "1 2\n 3,oops 4\n"),
              StartsWith("input:2:4: 'oops' is not a number"));
  std::string far;
  for (int i = 0; i < 70000; ++i) far += "12\n";
  EXPECT_THAT(input_refusal("fp16", far + "  1x"),
              StartsWith("input:70001:3: '1x' is not a number"));
  EXPECT_THAT(input_refusal("fp16", "\xEF\xBB\xBFx"), StartsWith("input:1:1: 'x' is not a number"));
}

TEST(Convert, AgreesWithTheCompilersBinary16) {
  const auto format = make_format("fp16");
  std::string input;
  const auto values = spread_floats(1 << 16);  // several pieces
  for (const float value : values) input += exact_text(value) + "\n";
  const auto rows = converted(*format, input);
  ASSERT_EQ(rows.size(), values.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const float value = values[i];
    ASSERT_TRUE(same_number(number(rows[i], "value"), value));
    ASSERT_TRUE(
        same_number(number(rows[i], "decoded"), static_cast<float>(static_cast<Float16>(value))));
    if (std::isnan(value)) continue;  // text keeps no payload
    ASSERT_EQ(code_of(rows[i]), half_code(value)) << value;
    const std::string bits = rows[i].at("sign") + rows[i].at("exponent") + rows[i].at("mantissa");
    ASSERT_EQ(std::stoul(bits, nullptr, 2), code_of(rows[i]));
    ASSERT_EQ(rows[i].at("exponent").size(), 5u);
    const float decoded = static_cast<Float16>(value);
    const auto error =
        static_cast<float>(static_cast<double>(decoded) - static_cast<double>(value));
    ASSERT_TRUE(same_number(number(rows[i], "error"), decoded == value ? 0 : error));
  }
}

TEST(Convert, KeepsSpecialNumbersApart) {
  const auto format = make_format("fp16");
  const std::string text = streamed(*format, "-0 nan -inf 65520 5.9604645e-08");
  EXPECT_EQ(text,
            "value\tcode\tsign\texponent\tmantissa\tdecoded\terror\n"
            "-0\t0x8000\t1\t00000\t0000000000\t-0\t0\n"
            "nan\t0x7e00\t0\t11111\t1000000000\tnan\tnan\n"
            "-inf\t0xfc00\t1\t11111\t0000000000\t-inf\t0\n"
            "65520\t0x7c00\t0\t11111\t0000000000\tinf\tinf\n"
            "5.9604645e-08\t0x0001\t0\t00000\t0000000001\t5.9604645e-08\t0\n");
}

TEST(Convert, DecodesEveryCode) {
  const auto format = make_format("fp16");
  std::string input;
  for (std::uint32_t code = 0; code < 1 << 16; ++code) {
    // Without 0x, codes such as 0b01 could be binary too: they are refused below.
    const bool prefixed = code % 2 || (code & 0xEE) == 0;
    input += (prefixed ? "0x" : "") + code_text(code, 16).substr(2) + ",";
  }
  const auto rows = converted(*format, input, codes());
  ASSERT_EQ(rows.size(), std::size_t{1} << 16);
  for (std::uint32_t code = 0; code < rows.size(); ++code) {
    ASSERT_EQ(code_of(rows[code]), code);
    ASSERT_TRUE(same_number(number(rows[code], "decoded"), half_of(code)));
    ASSERT_EQ(rows[code].count("value") + rows[code].count("error"), 0u);
  }
}

TEST(Convert, TellsBinaryFromHexadecimal) {
  const auto format = make_format("fp16");
  const auto code = [&](const std::string& word) {
    return code_of(converted(*format, word, codes()).at(0));
  };
  EXPECT_EQ(code("0b0000000000000011"), 3u);
  EXPECT_EQ(code("0b10101"), 21u);  // as hexadecimal it has more than 16 bits
  EXPECT_EQ(code("0b12"), 0x0b12u);
  EXPECT_EQ(code("0x0b01"), 0x0b01u);
  EXPECT_EQ(input_refusal("fp16", "0b01", codes()),
            "input:1:1: '0b01' is a binary and a hexadecimal number: give 0x0b01, or all 16 binary "
            "digits");
}

/// Posit Standard (2022), section 3: the regime is a run of equal bits and the bit that ends it,
/// two exponent bits follow, then the fraction.
TEST(Convert, ShowsFieldsThatMove) {
  const auto format = make_format("posit8");
  const auto rows = converted(*format, "40 01 7f 4d 28 03", codes());
  std::vector<std::string> fields;
  for (const Row& row : rows) {
    fields.push_back(row.at("sign") + " " + row.at("regime") + " " + row.at("exponent") + " " +
                     row.at("mantissa"));
  }
  EXPECT_THAT(fields, ElementsAre("0 10 00 000", "0 0000001 - -", "0 1111111 - -", "0 10 01 101",
                                  "0 01 01 000", "0 000001 1 -"));
}

/// 0 10 00 000 becomes 0 110 01 00: bit 2 was of the fraction and is of the exponent afterwards.
TEST(Convert, ClassOfAFlipIsThatOfTheStoredCode) {
  ConvertOptions options = flips({"5,2"});
  options.codes = options.together = true;
  const Row row = converted(*make_format("posit8"), "40", options).at(1);
  EXPECT_EQ(row.at("code"), "0x64");
  EXPECT_EQ(row.at("exponent"), "01");
  EXPECT_EQ(row.at("class"), "regime+mantissa");
}

TEST(Convert, FlipsEveryBit) {
  const auto format = make_format("fp16");
  const std::vector<std::uint32_t> all = {0x3e00, 0x0000, 0x8001, 0x7bff, 0x03ff};
  ConvertOptions options = flips({"all"});
  options.codes = true;
  std::string input;
  for (const std::uint32_t code : all) input += code_text(code, 16) + " ";
  const auto rows = converted(*format, input, options);
  ASSERT_EQ(rows.size(), all.size() * 17);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::uint32_t code = all[i / 17];
    const Row& row = rows[i];
    if (i % 17 == 0) {
      EXPECT_EQ(row.at("flip") + row.at("class") + row.at("damage") + row.at("relative"), "----");
      EXPECT_EQ(code_of(row), code);
      continue;
    }
    const int bit = 16 - static_cast<int>(i % 17);
    EXPECT_EQ(row.at("flip"), std::to_string(bit));
    EXPECT_EQ(row.at("class"), bit == 15 ? "sign" : bit >= 10 ? "exponent" : "mantissa");
    EXPECT_EQ(code_of(row), code ^ (1u << bit));
    const float before = half_of(code), after = half_of(code ^ (1u << bit));
    EXPECT_TRUE(same_number(number(row, "decoded"), after));
    const float damage = std::fabs(after - before);  // exact: both are multiples of 2^-24
    EXPECT_TRUE(same_number(number(row, "damage"), damage)) << row.at("damage");
    const float relative = damage == 0 ? 0 : damage / std::fabs(before);
    EXPECT_TRUE(same_number(number(row, "relative"), relative)) << row.at("relative");
  }
}

TEST(Convert, TakesBitsAsListsRangesAndTogether) {
  const auto format = make_format("int8");
  const auto labels = [&](std::vector<std::string> texts, bool together = false) {
    ConvertOptions options = flips(std::move(texts));
    options.together = together;
    std::vector<std::string> all;
    for (const Row& row : converted(*format, "1", options)) all.push_back(row.at("flip"));
    return all;
  };
  EXPECT_THAT(labels({"2-4", "7,2"}), ElementsAre("-", "2", "3", "4", "7"));
  EXPECT_THAT(labels({"1-0,scale:31-30"}), ElementsAre("-", "1", "0", "scale:31", "scale:30"));
  EXPECT_THAT(labels({"payload:5"}), ElementsAre("-", "5"));
  EXPECT_THAT(labels({"7,0", "scale:3"}, true), ElementsAre("-", "7+0+scale:3"));
  EXPECT_EQ(labels({"scale:all"}).size(), 33u);
  ConvertOptions together = flips({"7,0", "scale:3"});
  together.together = true;
  const Row row = converted(*format, "1", together).at(1);
  EXPECT_EQ(row.at("code"), "0xfe");  // 127 with both its end bits flipped
  EXPECT_EQ(row.at("class"), "sign+mantissa+metadata");
}

TEST(Convert, GivesEachElementTheMetadataOfItsBlock) {
  const Threes format;
  const auto rows = converted(format, "1 0.25 -0.125  100 50 -1  3");
  std::vector<std::string> scales;
  for (const Row& row : rows) scales.push_back(row.at("scale") + "=" + row.at("scale_value"));
  EXPECT_THAT(scales, ElementsAre("0x2=0.015625", "0x2=0.015625", "0x2=0.015625", "0x8=1", "0x8=1",
                                  "0x8=1", "0x3=0.03125"));
  EXPECT_EQ(rows[2].at("decoded"), "-0.125");
  EXPECT_EQ(rows[3].at("decoded"), "100");
}

TEST(Convert, FlipOfAScaleMovesItsWholeBlock) {
  const Threes format;
  const auto rows = converted(format, "1 0.25 -0.125  100 50 -1  3", flips({"scale:all"}));
  ASSERT_EQ(rows.size(), 7u * 5);
  const std::uint32_t scales[] = {2, 2, 2, 8, 8, 8, 3};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (i % 5 == 0) continue;
    const int bit = 4 - static_cast<int>(i % 5);
    const int step = (scales[i / 5] >> bit) & 1 ? -(1 << bit) : 1 << bit;
    EXPECT_EQ(rows[i].at("class"), "metadata");
    EXPECT_EQ(hexadecimal(rows[i].at("scale")), scales[i / 5] ^ (1u << bit));
    EXPECT_EQ(rows[i].at("code"), rows[i / 5 * 5].at("code"));
    EXPECT_EQ(number(rows[i], "decoded"), std::ldexp(number(rows[i / 5 * 5], "decoded"), step));
  }
}

/// A stream is one tensor of one dimension, whatever pieces it is converted in.
void expect_one_tensor(const NumberFormat& format, const ConvertOptions& options = {}) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> values(70001);
  std::string input;
  for (float& value : values) {
    value = normal(random);
    input += exact_text(value) + " ";
  }
  const std::int64_t shape[] = {static_cast<std::int64_t>(values.size())};
  std::vector<std::uint32_t> metadata(static_cast<std::size_t>(
      format.registers().size() > 1 ? format.register_count(1, shape) : 0));
  if (format.calibrated()) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    const Range range{*low, *high};
    format.calibrate({&range, 1}, shape, metadata);
  }
  const auto expected = encode(format, values, metadata);
  const auto decoded = decode(format, expected, metadata);
  const auto rows = converted(format, input, options);
  ASSERT_EQ(rows.size(), values.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    ASSERT_EQ(code_of(rows[i]), expected[i]) << i;
    ASSERT_TRUE(same_number(number(rows[i], "decoded"), decoded[i])) << i;
    if (metadata.empty()) continue;
    const std::size_t block = metadata.size() == 1 ? values.size() : 32;
    ASSERT_EQ(hexadecimal(rows[i].at(format.registers()[1].name)), metadata[i / block]) << i;
  }
}

TEST(Convert, TakesAStreamAsOneTensor) {
  expect_one_tensor(*make_format("bf16"));
  expect_one_tensor(*make_format("mxfp8_e4m3"));
  expect_one_tensor(*make_format("int8"));
  expect_one_tensor(*make_format("bfp", {{"block", std::int64_t{0}}}));
  // Draws of stochastic rounding depend on an element's place.
  expect_one_tensor(*make_format("fp8_e4m3", stochastic(5)));
}

TEST(Convert, ConvertsElementsAsTheyCome) {
  const auto format = make_format("fp16");
  std::string text;
  std::vector<std::string> lines = {"1\n", "2\n", "3"};
  std::vector<std::size_t> written;
  std::size_t next = 0;
  convert(
      {*format, "fp16", ""}, {},
      [&](std::span<char> buffer) {
        written.push_back(parts(text, '\n').size());
        if (next == lines.size()) return std::size_t{0};
        std::ranges::copy(lines[next], buffer.begin());
        return lines[next++].size();
      },
      "input", [&](std::string_view piece) { text += piece; });
  EXPECT_THAT(written, ElementsAre(0u, 2u, 3u, 3u));
  EXPECT_EQ(parts(text, '\n').size(), 4u);
}

TEST(Convert, CalibratesToTheInputOrTheGivenRange) {
  const auto format = make_format("int8");
  const auto scale = [&](const std::string& input, const ConvertOptions& options) {
    return converted(*format, input, options).at(0).at("scale_value");
  };
  EXPECT_EQ(scale("1 -254 inf nan", {}), "2");
  EXPECT_EQ(scale("0", {}), "1");
  ConvertOptions options;
  options.range = "127";
  EXPECT_EQ(scale("1 -254", options), "1");
  options.codes = true;
  options.range = "63.5";
  EXPECT_EQ(scale("7f", options), "0.5");
  ConvertOptions given;
  given.metadata = {"scale=4"};
  const Row row = converted(*format, "100 -254", given).at(0);
  EXPECT_EQ(row.at("scale"), "0x40800000");
  EXPECT_EQ(row.at("code"), "0x19");
  EXPECT_EQ(row.at("decoded"), "100");
}

TEST(Convert, DecodesCodesWithMetadataThatStandsForOne) {
  EXPECT_EQ(converted(*make_format("int8"), "80", codes()).at(0).at("decoded"), "-128");
  EXPECT_EQ(converted(*make_format("int8"), "80", codes({"scale=0x3f000000"})).at(0).at("decoded"),
            "-64");
  const Row row = converted(*make_format("mxfp4"), "7", codes()).at(0);
  EXPECT_EQ(row.at("scale"), "0x7f");
  EXPECT_EQ(row.at("decoded"), "6");
  // The nearest that E8M0 has to 5 is 4.
  EXPECT_EQ(converted(*make_format("mxfp4"), "7", codes({"scale=5"})).at(0).at("decoded"), "24");
  EXPECT_EQ(converted(*make_format("mxfp4"), "7", codes({"scale=nan"})).at(0).at("scale"), "0xff");
}

TEST(Convert, WritesATableOfArguments) {
  const auto format = make_format("int8");
  ConvertOptions options;
  options.values = {"1", "-2.5,127"};
  EXPECT_EQ(streamed(*format, "ignored", options),
            "f, 8 bits: a format\n"
            "scale (32 bits): 0x3f800000 = 1, calibrated to 127\n"
            "\n"
            "value  code  sign  mantissa  decoded  error  scale       scale_value\n"
            "-----  ----  ----  --------  -------  -----  ----------  -----------\n"
            "    1  0x01  0     0000001         1      0  0x3f800000            1\n"
            " -2.5  0xfe  1     1111110        -2    0.5  0x3f800000            1\n"
            "  127  0x7f  0     1111111       127      0  0x3f800000            1\n");
  options.values = {"-"};
  EXPECT_THAT(streamed(*format, "1", options), StartsWith("value\tcode"));
}

TEST(Convert, WritesJsonWithTheContentsOfTheTable) {
  const auto format = make_format("int8");
  const std::string input = "1 -2.5 nan -inf -0 1e-30";
  ConvertOptions options = flips({"all", "scale:all"});
  const auto rows = converted(*format, input, options);
  options.json = true;
  const auto lines = parts(streamed(*format, input, options), '\n');
  ASSERT_EQ(lines.size(), rows.size());
  const auto text = [](const nlohmann::json& value) {
    return value.is_string() ? value.get<std::string>() : exact_text(value.get<float>());
  };
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto json = nlohmann::json::parse(lines[i]);
    const Row& row = rows[i];
    EXPECT_EQ(text(json["value"]), row.at("value"));
    EXPECT_EQ(json["code"], row.at("code"));
    EXPECT_EQ(json["fields"]["sign"], row.at("sign"));
    EXPECT_EQ(json["fields"]["mantissa"], row.at("mantissa"));
    EXPECT_EQ(text(json["decoded"]), row.at("decoded"));
    EXPECT_EQ(json["metadata"]["scale"]["code"], row.at("scale"));
    EXPECT_EQ(text(json["metadata"]["scale"]["value"]), row.at("scale_value"));
    ASSERT_EQ(json["flip"].is_null(), row.at("flip") == "-");
    if (json["flip"].is_null()) {
      EXPECT_EQ(text(json["error"]), row.at("error"));
      continue;
    }
    EXPECT_EQ(json["flip"], row.at("flip"));
    EXPECT_EQ(json["class"], row.at("class"));
    EXPECT_EQ(text(json["damage"]), row.at("damage"));
  }
}

TEST(Convert, RefusesBadOptions) {
  const auto fp16 = make_format("fp16"), int8 = make_format("int8"), mxfp4 = make_format("mxfp4");
  EXPECT_EQ(usage_refusal(*fp16, flips({"16"})),
            "--flip 16: f's payload has bits 0 to 15, 0 the least significant");
  EXPECT_EQ(usage_refusal(*int8, flips({"5-8"})),
            "--flip 5-8: f's payload has bits 0 to 7, 0 the least significant; its registers: "
            "payload (8 bits), scale (32 bits)");
  EXPECT_EQ(usage_refusal(*int8, flips({"scal:3"})),
            "--flip scal:3: f has no register 'scal', did you mean 'scale'?; it has payload (8 "
            "bits), scale (32 bits)");
  for (const char* text : {"", "-1", "x", "1-", "-", "1,,2", "99999999999", ":", "scale:", "1:2"}) {
    EXPECT_THAT(usage_refusal(*int8, flips({text})), StartsWith("--flip ")) << text;
  }
  ConvertOptions options;
  options.together = true;
  EXPECT_EQ(usage_refusal(*fp16, options), "--together needs bits: add --flip BITS");
  options = {};
  options.range = "1";
  EXPECT_THAT(usage_refusal(*fp16, options), HasSubstr("no metadata that is calibrated"));
  for (const char* range : {"0", "-1", "nan", "inf", "x", " "}) {
    options.range = range;
    EXPECT_THAT(usage_refusal(*int8, options), HasSubstr("a finite number greater than 0"));
  }
  EXPECT_EQ(usage_refusal(*fp16, codes({"scale=1"})), "--metadata scale=1: f has no metadata");
  EXPECT_THAT(usage_refusal(*int8, codes({"payload=1"})), HasSubstr("no metadata register"));
  for (const char* text : {"scale", "scale=", "scale=x", "scale=0x100000000", "scale=0xg"}) {
    EXPECT_THAT(usage_refusal(*int8, codes({text})), StartsWith("--metadata scale")) << text;
  }
  options = {};
  options.metadata = {"scale=1"};
  EXPECT_THAT(usage_refusal(*mxfp4, options), HasSubstr("computes its metadata from the values"));
  const auto channels = make_format("int8", {{"granularity", std::string("channel")}});
  EXPECT_THAT(usage_refusal(*channels, {}), StartsWith("f stores no tensor of one dimension"));
}

TEST(Convert, RefusesBadArguments) {
  const auto format = make_format("fp8_e4m3");
  ConvertOptions options;
  options.values = {"1", "two"};
  EXPECT_EQ(usage_refusal(*format, options),
            "argument 2: 'two' is not a number; numbers look like 1.5, -2e-3, 0x1.8p3, inf, nan");
  options.values = {""};
  EXPECT_EQ(usage_refusal(*format, options), "argument 1: '' is not a number");
  options.codes = true;
  options.values = {"ff", "100"};
  EXPECT_EQ(usage_refusal(*format, options),
            "argument 2: '100' is not a code of f: give 0x0 to 0xff, or binary digits after 0b");
}

TEST(Convert, SurvivesHostileInput) {
  std::mt19937 random(11);
  std::string garbage(1 << 20, ' ');
  for (char& c : garbage) c = static_cast<char>(random());
  const std::string message = input_refusal("fp16", garbage);
  EXPECT_TRUE(std::all_of(message.begin(), message.end(), [](char c) {
    return c >= ' ' && c <= '~';
  })) << message;
  EXPECT_THAT(
      input_refusal("fp16", "1 " + std::string(10 << 20, '7')),
      HasSubstr("input:1:3: '7777777777777777777777777777777777777777...' goes on for more"));
  EXPECT_THAT(input_refusal("fp16", std::string(1, '\0')), HasSubstr("'\\x00' is not a number"));
  // Longer than the text of any double, yet a number.
  const auto format = make_format("fp16");
  const std::string zeros(3000, '0');
  EXPECT_EQ(converted(*format, "1." + zeros + "1").at(0).at("code"), "0x3c00");
}

TEST(Convert, TakesEmptyInput) {
  for (const char* id : {"fp16", "int8", "mxfp4", "bfp", "posit8"}) {
    const auto format = make_format(id);
    for (const std::string input : {"", " \n\n", ",\t"}) {
      const std::string text = streamed(*format, input);
      EXPECT_THAT(text, StartsWith("value\tcode")) << id;
      EXPECT_EQ(parts(text, '\n').size(), 1u) << id;
    }
    ConvertOptions json;
    json.json = true;
    EXPECT_EQ(streamed(*format, "", json), "");
  }
}

TEST(FileSource, ReadsAFileOrSaysWhyNot) {
  const std::string path = testing::TempDir() + "convert_values.txt";
  std::ofstream(path) << "1.5\n-2";
  const auto format = make_format("fp16");
  EXPECT_EQ(streamed(*format, file_source(path)), streamed(*format, "1.5\n-2"));
  const auto reason = [&](const std::string& name) {
    return refusal(ExitCode::kInput, [&] { streamed(*format, file_source(name)); });
  };
  EXPECT_EQ(reason("no/such.txt"), "no/such.txt: cannot be read: No such file or directory");
  EXPECT_EQ(reason(testing::TempDir()), testing::TempDir() + ": cannot be read: it is a folder");
}

TEST(FormatChoice, ReadsValuesAsTheOptionsTypeWants) {
  const auto chosen = [](const std::string& id, const std::vector<std::string>& settings) {
    Diagnostics diagnostics("convert", "");
    const auto format = first_party_plugins().make_format(
        component_choice(first_party_plugins(), ComponentKind::kFormat, id, settings), diagnostics);
    if (format) return std::to_string(format->registers()[0].bits);
    return parts(diagnostics.render(), '\n').at(0);
  };
  const std::vector<std::string> wide = {"exponent_bits=5", " mantissa_bits = 6"};
  EXPECT_EQ(chosen("float", wide), "12");
  EXPECT_EQ(chosen("fp8_e4m3", {"overflow=nan"}), "8");
  EXPECT_EQ(chosen("fp8_e4m3", {"overflow=\"nan\""}), "8");
  EXPECT_EQ(chosen("float", {wide[0], wide[1], "subnormals=false"}), "12");
  EXPECT_EQ(chosen("float", {wide[0], wide[1], "subnormals=no"}),
            "convert: option 'subnormals' of format 'float' must be true or false");
  EXPECT_EQ(chosen("float", {wide[0], "mantissa_bits=x"}),
            "convert: option 'mantissa_bits' of format 'float' must be an integer, 0 to 23");
  EXPECT_EQ(chosen("float", {wide[0], "mantissa_bits=24"}),
            "convert: option 'mantissa_bits' of format 'float' is 24, allowed are 0 to 23");
  EXPECT_EQ(chosen("float", {wide[0], "mantissa_bits = 0x6 # as in a file"}), "12");
  EXPECT_THAT(chosen("float", {wide[0], "mantissa_bits=6\nexponent_bits=5"}),
              HasSubstr("must be an integer"));
  EXPECT_THAT(chosen("fp8_e4m3", {"overflow=inf"}), HasSubstr("allowed are saturate, nan"));
  EXPECT_THAT(chosen("fp8_e4m3", {"overflw=nan"}), HasSubstr("did you mean 'overflow'?"));
  EXPECT_EQ(chosen("FP17", {}), "convert: unknown format 'FP17' (did you mean 'fp16'?)");
  for (const char* setting : {"overflow", "=1", " = 2", ""}) {
    EXPECT_THAT(refusal(ExitCode::kUsage, [&] { chosen("fp8_e4m3", {setting}); }),
                HasSubstr("give KEY=VALUE"));
  }
  EXPECT_THAT(
      refusal(ExitCode::kUsage, [&] { chosen("fp8_e4m3", {"overflow=nan", "overflow=saturate"}); }),
      HasSubstr("is set twice"));
}

/// Exit status and both outputs of the program, where this build has one.
class ConvertProgram : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kProgram)) GTEST_SKIP() << "this build has no program";
  }
  static std::pair<int, std::string> run(const std::string& command) {
    FILE* pipe = popen(("export BITFALL='" + std::string(kProgram) + "'; " + command).c_str(), "r");
    std::string text(1 << 16, ' ');
    text.resize(std::fread(text.data(), 1, text.size(), pipe));
    return {WEXITSTATUS(pclose(pipe)), text};
  }
  static constexpr const char* kProgram = BITFALL_BUILD_DIR "/bin/bitfall";
};

TEST_F(ConvertProgram, TakesNegativeNumbersThatLookLikeOptions) {
  const auto [status, text] = run("\"$BITFALL\" convert fp16 -inf -.5 -1e3 --flip 1 -nan --json");
  EXPECT_EQ(status, 0);
  std::vector<std::string> values;
  for (const std::string& line : parts(text, '\n')) {
    const auto json = nlohmann::json::parse(line);
    if (json["flip"].is_null()) values.push_back(json["value"].dump());
  }
  EXPECT_THAT(values, ElementsAre("\"-inf\"", "-0.5", "-1000", "\"nan\""));
}

TEST_F(ConvertProgram, ReadsStandardInputAndFiles) {
  const std::string path = testing::TempDir() + "convert_program.txt";
  std::ofstream(path) << "1.5 -2";
  const auto expected = streamed(*make_format("fp16"), "1.5 -2");
  EXPECT_EQ(run("echo 1.5 -2 | \"$BITFALL\" convert fp16").second, expected);
  EXPECT_EQ(run("echo 1.5 -2 | \"$BITFALL\" convert fp16 -").second, expected);
  EXPECT_EQ(run("\"$BITFALL\" convert fp16 --file '" + path + "'").second, expected);
}

TEST_F(ConvertProgram, EndsQuietlyWithItsReaderAndSaysWhenItCannotWrite) {
  const std::string noise = "'" + testing::TempDir() + "convert_noise.txt'";
  EXPECT_EQ(run("yes 1 | (\"$BITFALL\" convert fp16 2>" + noise + "; echo $? >>" + noise +
                ") | head -n 1; cat " + noise)
                .second,
            "value\tcode\tsign\texponent\tmantissa\tdecoded\terror\n141\n");  // SIGPIPE
  const auto [status, text] = run("seq 100000 | \"$BITFALL\" convert fp16 2>&1 >/dev/full");
  EXPECT_EQ(status, 1);
  EXPECT_EQ(text, "bitfall: error: standard output: write failed\n");
}

TEST_F(ConvertProgram, RefusesWithTheUsualExitCodes) {
  EXPECT_EQ(run("\"$BITFALL\" convert fp61 1 2>&1").first, 2);
  EXPECT_EQ(run("\"$BITFALL\" convert fp16 1 --file x 2>&1").first, 2);
  EXPECT_EQ(run("echo x | \"$BITFALL\" convert fp16 2>&1").first, 4);
  EXPECT_EQ(run("\"$BITFALL\" convert fp16 --file no/such 2>&1").first, 4);
}

}  // namespace
}  // namespace bitfall::convert_test
