#include "utf8.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace bitfall::utf8_test {
namespace {

/// RFC 3629, section 3, and nothing of ours: the table of ranges, for any number up to 2^21.
std::string encoded(std::uint32_t point) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | (point >> shift & 0x3F)); };
  if (point < 0x80) return {static_cast<char>(point)};
  if (point < 0x800) return {static_cast<char>(0xC0 | point >> 6), tail(0)};
  if (point < 0x10000) return {static_cast<char>(0xE0 | point >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | point >> 18), tail(12), tail(6), tail(0)};
}

TEST(Utf8, EveryCodePointIsASequenceAndNoOtherNumberIs) {
  for (std::uint32_t point = 0; point < 0x200000; ++point) {
    const std::string text = encoded(point);
    const bool valid = point < 0xD800 || (point > 0xDFFF && point <= 0x10FFFF);
    ASSERT_EQ(sequence_length(text), valid ? text.size() : 0) << point;
    ASSERT_EQ(sequence_length(text.substr(0, text.size() - 1)), 0) << point;
  }
}

// Diagnostics took these for characters: forms that are longer than needed, surrogates, and what
// lies beyond Unicode.
TEST(Utf8, SequencesThatRfc3629ForbidsAreBroken) {
  const std::string mark = "\xEF\xBF\xBD";
  for (const auto& [text, bytes] : std::vector<std::pair<std::string, int>>{{"\xC0\x80", 2},
                                                                            {"\xC1\xBF", 2},
                                                                            {"\xE0\x9F\xBF", 3},
                                                                            {"\xF0\x8F\xBF\xBF", 4},
                                                                            {"\xED\xA0\x80", 3},
                                                                            {"\xED\xBF\xBF", 3},
                                                                            {"\xF4\x90\x80\x80", 4},
                                                                            {"\xF7\xBF\xBF\xBF", 4},
                                                                            {"\x80", 1},
                                                                            {"\xFF", 1},
                                                                            {"\xC3(", 1}}) {
    EXPECT_EQ(sequence_length(text), 0) << escaped_bytes(text);
    EXPECT_FALSE(is_presentable(text)) << escaped_bytes(text);
    std::vector<std::string> shown(static_cast<std::size_t>(bytes), mark);
    if (text.back() == '(') shown.emplace_back("(");
    EXPECT_EQ(printable_points(text), shown) << escaped_bytes(text);
  }
}

TEST(Utf8, ControlCharactersAreNotPresentable) {
  EXPECT_TRUE(
      is_presentable("Gr\xC3\xBC\xC3\x9F"
                     "e 1"));
  EXPECT_TRUE(is_presentable(""));
  for (const char* text : {"a\n", "\t", "\x7F", "\x1B[0m"}) {
    EXPECT_FALSE(is_presentable(text)) << escaped_bytes(text);
  }
  EXPECT_FALSE(is_presentable(std::string("a\0", 2)));
  EXPECT_EQ(printable_points("a\t\x1B"), (std::vector<std::string>{"a", "\t", "\xEF\xBF\xBD"}));
}

TEST(Utf8, CodePointsAreCountedAndCutWhole) {
  const std::string text = "\xC3\xA4x\xE2\x82\xAC\xF0\x9F\x98\x80";
  EXPECT_EQ(code_points(text), 4);
  EXPECT_EQ(first_code_points(text, 0), "");
  EXPECT_EQ(first_code_points(text, 3), "\xC3\xA4x\xE2\x82\xAC");
  EXPECT_EQ(first_code_points(text, 9), text);
}

// What a terminal acts on, by the tables of ECMA-48 (C0, C1) and of Unicode's annex 9 (directions).
TEST(Utf8, WhatATerminalWouldActOnIsShownAsNumbers) {
  const std::vector<std::pair<std::uint32_t, std::string>> acting = {
      {0x00, "\\x00"},     {0x07, "\\x07"},     {0x1B, "\\x1b"},     {0x7F, "\\x7f"},
      {0x80, "\\x80"},     {0x9B, "\\x9b"},     {0x9F, "\\x9f"},     {0x61C, "\\u061c"},
      {0x200E, "\\u200e"}, {0x202A, "\\u202a"}, {0x202E, "\\u202e"}, {0x2066, "\\u2066"},
      {0x2069, "\\u2069"}};
  for (const auto& [point, shown] : acting) {
    EXPECT_EQ(printable("a" + encoded(point) + "b"), "a" + shown + "b");
    EXPECT_FALSE(is_presentable(encoded(point)));
  }
  for (const std::uint32_t point :
       {0x20U, 0x7EU, 0xA0U, 0xE4U, 0x200DU, 0x202FU, 0x2065U, 0x1F600U}) {
    EXPECT_EQ(printable(encoded(point)), encoded(point)) << point;
    EXPECT_TRUE(is_presentable(encoded(point))) << point;
  }
  EXPECT_EQ(printable("two\nlines\tand a tab"), "two\nlines\tand a tab");
  EXPECT_EQ(printable("broken \xFF\xC3("), "broken \\xff\\xc3(");
  EXPECT_EQ(printable_points("\xC2\x9B"), std::vector<std::string>{"\xEF\xBF\xBD"});
}

TEST(Utf8, BytesAreEscaped) { EXPECT_EQ(escaped_bytes("a\xC3 \n"), "a\\xc3 \\x0a"); }

}  // namespace
}  // namespace bitfall::utf8_test
