// Codes in memory: by the definitions of their papers written out bit by bit, and every single and
// double error of a SECDED word.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "bitfall/extensions/memory_code.h"
#include "loaded_plugins.h"

namespace bitfall::coded_format_test {
namespace {

using Options = std::vector<std::pair<std::string, OptionValue>>;

std::unique_ptr<NumberFormat> made(const std::string& id, Options options) {
  Diagnostics diagnostics("", "");
  auto format =
      first_party_plugins().make_format(plugin_choice(id, std::move(options)), diagnostics);
  EXPECT_NE(format, nullptr) << diagnostics.render();
  return format;
}

std::string refusal_of(const std::string& id, Options options) {
  return complaint([&](Diagnostics& diagnostics) {
    return first_party_plugins().make_format(plugin_choice(id, options), diagnostics);
  });
}

MemoryVerdict checked(const NumberFormat& format, View<const std::uint32_t> codes,
                      const Slice& slice, View<const std::uint32_t> metadata) {
  const auto* code = static_cast<const MemoryCode*>(format.extension(kMemoryCode));
  EXPECT_NE(code, nullptr);
  return code->check(codes, slice, metadata);
}

std::vector<float> samples(std::size_t count) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values)
    value = std::ldexp(normal(random), static_cast<int>(random() % 9) - 6);
  return values;
}

/// One number through encode, an edit of its word, and decode.
struct Stored {
  float value;
  std::uint32_t word;
  MemoryVerdict verdict;
};
Stored stored(const NumberFormat& format, float value, std::uint32_t flips = 0) {
  const std::vector<std::int64_t> shape = {1};
  std::vector<std::uint32_t> code(1);
  std::vector<float> result = {value};
  format.encode(result, {shape}, {}, code);
  const std::uint32_t word = code[0];
  code[0] ^= flips;
  format.decode(code, {shape}, {}, result);
  return {result[0], word, checked(format, code, {shape}, {})};
}

TEST(Mset, VotesOnTheHighestExponentBit) {
  const auto format = made("mset", {});
  for (const float value : samples(500)) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t top = bits >> 30 & 1;
    const std::uint32_t word = (bits & 0xFFFFFFFC) | top << 1 | top;
    const Stored clean = stored(*format, value);
    EXPECT_EQ(clean.word, word);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(clean.value), word);  // the copies stay in the number
    EXPECT_EQ(clean.verdict.corrected, 0);
    for (const int bit : {30, 1, 0}) {
      const Stored faulty = stored(*format, value, 1U << bit);
      EXPECT_EQ(std::bit_cast<std::uint32_t>(faulty.value) >> 30 & 1, top);
      EXPECT_EQ(faulty.verdict.corrected, 1);
    }
    EXPECT_EQ(std::bit_cast<std::uint32_t>(stored(*format, value, 1U << 30 | 1).value) >> 30 & 1,
              1 - top);
    EXPECT_EQ(stored(*format, value, 1U << 23).verdict.corrected, 0);
  }
}

/// The table of the authors' code for 16 bits: data bits, then their parity bit.
TEST(Cep, ZeroesChunksThatDoNotFitTheirParity) {
  const std::vector<std::pair<std::vector<int>, int>> chunks = {
      {{15, 14, 13}, 3}, {{12, 11, 10}, 2}, {{9, 8, 7}, 1}, {{6, 5, 4}, 0}};
  const auto format = made("cep", {{"base", std::string("fp16")}});
  const auto fp16 = made("fp16", {});
  const std::vector<std::int64_t> shape = {1};
  const auto number = [&](std::uint32_t code) {
    std::vector<float> value(1);
    const std::vector<std::uint32_t> codes = {code};
    fp16->decode(codes, {shape}, {}, value);
    return value[0];
  };
  for (const float value : samples(300)) {
    std::vector<std::uint32_t> code(1);
    const std::vector<float> given = {value};
    fp16->encode(given, {shape}, {}, code);
    std::uint32_t word = code[0] & 0xFFF0;
    for (const auto& [data, parity] : chunks) {
      int ones = 0;
      for (const int bit : data) ones += static_cast<int>(code[0] >> bit & 1);
      word |= static_cast<std::uint32_t>(ones % 2) << parity;
    }
    EXPECT_EQ(stored(*format, value).word, word);
    EXPECT_EQ(stored(*format, value).value, number(word & 0xFFF0));
    for (const auto& [data, parity] : chunks) {
      std::uint32_t kept = word & 0xFFF0;
      for (const int bit : data) kept &= ~(1U << bit);
      for (const int bit : {data[0], data[1], data[2], parity}) {
        const Stored faulty = stored(*format, value, 1U << bit);
        EXPECT_EQ(std::bit_cast<std::uint32_t>(faulty.value),
                  std::bit_cast<std::uint32_t>(number(kept)));
        EXPECT_EQ(faulty.verdict.detected, 1);
      }
    }
  }
  EXPECT_THAT(
      refusal_of("cep", {{"base", std::string("fp8_e4m3")}, {"data_bits", std::int64_t{15}}}),
      testing::HasSubstr("data_bits: is 15"));
}

TEST(Parity, ZeroesAWordOfOddParity) {
  const auto format = made("parity", {});
  for (const float value : samples(200)) {
    const std::uint32_t data = std::bit_cast<std::uint32_t>(value) & ~1U;
    EXPECT_EQ(std::bit_cast<std::uint32_t>(stored(*format, value).value), data);
    EXPECT_EQ(std::popcount(stored(*format, value).word) % 2, 0);
    for (int bit = 0; bit < 32; ++bit) {
      const Stored faulty = stored(*format, value, 1U << bit);
      EXPECT_EQ(std::bit_cast<std::uint32_t>(faulty.value), 0u);
      EXPECT_EQ(faulty.verdict.detected, 1);
    }
  }
}

struct Memory {
  std::vector<std::uint32_t> codes, metadata;
};

TEST(Secded, CorrectsEachErrorAndNoticesEachPair) {
  for (const auto& [base, bits] :
       std::vector<std::pair<std::string, int>>{{"fp16", 16}, {"fp32", 32}}) {
    for (const int word : {32, 64}) {
      const auto format = made("secded", {{"base", base}, {"word", std::to_string(word)}});
      const int checks = word == 64 ? 8 : 7;
      EXPECT_EQ(format->registers().back().bits, checks);
      const int each = word / bits;
      const std::vector<std::int64_t> shape = {each};
      const std::vector<float> golden = samples(static_cast<std::size_t>(each));
      Memory clean{std::vector<std::uint32_t>(static_cast<std::size_t>(each)),
                   std::vector<std::uint32_t>(1)};
      format->encode(golden, {shape}, clean.metadata, clean.codes);
      std::vector<float> rounded(golden.size());
      format->decode(clean.codes, {shape}, clean.metadata, rounded);
      const auto flip = [&](Memory& memory, int place) {
        if (place < word) {
          memory.codes[static_cast<std::size_t>(place / bits)] ^= 1U << place % bits;
        } else {
          memory.metadata[0] ^= 1U << (place - word);
        }
      };
      for (int a = 0; a < word + checks; ++a) {
        Memory one = clean;
        flip(one, a);
        std::vector<float> read(golden.size());
        format->decode(one.codes, {shape}, one.metadata, read);
        EXPECT_EQ(read, rounded) << a;
        const MemoryVerdict verdict = checked(*format, one.codes, {shape}, one.metadata);
        EXPECT_EQ(verdict.corrected, 1);
        EXPECT_EQ(verdict.detected, 0);
        for (int b = 0; b < a; ++b) {
          Memory two = one;
          flip(two, b);
          const MemoryVerdict both = checked(*format, two.codes, {shape}, two.metadata);
          ASSERT_EQ(both.corrected, 0) << a << " " << b;
          ASSERT_EQ(both.detected, 1) << a << " " << b;
        }
      }
    }
  }
}

TEST(Secded, ABlockIsAMemoryWordWhereverItLies) {
  const auto format = made("secded", {{"base", std::string("fp16")}});
  const std::vector<std::int64_t> shape = {3, 5};  // the last word is not full
  const std::vector<float> values = samples(15);
  std::vector<std::uint32_t> codes(15);
  std::vector<std::uint32_t> metadata(static_cast<std::size_t>(metadata_size(*format, shape)));
  EXPECT_EQ(metadata.size(), 4u);
  format->encode(values, {shape}, metadata, codes);
  for (std::int64_t element = 0; element < 15; ++element) {
    const ElementRun run = format->block(element, shape);
    EXPECT_EQ(run.first, element / 4 * 4);
    EXPECT_EQ(run.count, element < 12 ? 4 : 3);
    std::vector<std::uint32_t> own(static_cast<std::size_t>(run.count));
    std::vector<std::uint32_t> registers(4);
    const auto first = static_cast<std::size_t>(run.first);
    format->encode(View<const float>(values).subspan(first, own.size()), {shape, run.first, 1},
                   registers, own);
    EXPECT_EQ(own, std::vector<std::uint32_t>(codes.begin() + run.first,
                                              codes.begin() + run.first + run.count));
    EXPECT_EQ(registers[first / 4], metadata[first / 4]);
  }
}

TEST(Secded, ReadsWordsThatAreWrongAsAsked) {
  const std::vector<std::int64_t> shape = {2};
  for (const std::string rule : {"keep", "zero"}) {
    const auto format = made("secded", {{"on_detected", rule}});
    std::vector<float> values = {1, 2};
    std::vector<std::uint32_t> codes(2), metadata(1);
    format->encode(values, {shape}, metadata, codes);
    codes[0] ^= 3U << 20;
    format->decode(codes, {shape}, metadata, values);
    if (rule == "zero") {
      EXPECT_EQ(values, (std::vector<float>{0, 0}));
    } else {
      EXPECT_EQ(values[0], std::bit_cast<float>(std::bit_cast<std::uint32_t>(1.0F) ^ 3U << 20));
      EXPECT_EQ(values[1], 2);
    }
  }
}

TEST(Coded, RefuseBlocksAndWordsThatDoNotFit) {
  EXPECT_THAT(refusal_of("secded", {{"base", std::string("mxfp8_e4m3")}}),
              testing::HasSubstr("in blocks"));
  EXPECT_THAT(refusal_of("secded", {{"base", std::string("nothing")}}),
              testing::HasSubstr("unknown format 'nothing'"));
}

TEST(Coded, WantABaseWhoseWordsBearTheCode) {
  for (const char* code : {"mset", "cep", "parity"}) {
    for (const char* base : {"mset", "cep", "parity"}) {
      EXPECT_THAT(refusal_of(code, {{"base", std::string(base)}}),
                  testing::HasSubstr("keeps a code of its own"))
          << code << " over " << base;
    }
    made("secded", {{"base", std::string(code)}});
  }
  EXPECT_THAT(refusal_of("mset", {{"base", std::string("fp8_e4m3")}}),
              testing::HasSubstr("its largest number, 448, would be stored as no number"));
}

TEST(Coded, SayWhatBecomesOfTheBasesNumbers) {
  const FormatTraits mset = made("mset", {})->traits();
  EXPECT_STREQ(mset.overflow, "NaN");  // the lowest bits of Inf's word are set
  EXPECT_EQ(mset.smallest, 0x1p-147);  // two bits are lost
  const FormatTraits parity = made("parity", {})->traits();
  EXPECT_STREQ(parity.overflow, "Inf");
  EXPECT_EQ(parity.smallest, 0x1p-148);
  EXPECT_EQ(made("cep", {})->traits().smallest, 0x1p-141);  // eight parity bits
  for (const char* id : {"mset", "cep", "parity"}) {
    const auto format = made(id, {});
    EXPECT_EQ(stored(*format, static_cast<float>(format->traits().smallest)).value,
              static_cast<float>(format->traits().smallest));
    EXPECT_EQ(stored(*format, static_cast<float>(format->traits().smallest / 2)).value, 0) << id;
  }
  EXPECT_STREQ(made("parity", {{"base", std::string("fp8_e4m3")}})->traits().nan, "a number");
  EXPECT_STREQ(made("cep", {{"base", std::string("fp8_e5m2")}})->traits().nan, "Inf");
}

}  // namespace
}  // namespace bitfall::coded_format_test
