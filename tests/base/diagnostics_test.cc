#include "diagnostics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "error.h"
#include "words.h"

namespace bitfall::diagnostics_test {
namespace {

TEST(Diagnostics, RenderShowsPlaceLineCaretAndHint) {
  Diagnostics diagnostics("campaign.toml", "[format]\nid = \"int8\"\nbit_widht = 8\n");
  diagnostics.add({3, 1, 10}, "unknown key 'bit_widht' in [format]", "did you mean 'bit_width'?");
  EXPECT_EQ(diagnostics.render(),
            "campaign.toml:3:1: unknown key 'bit_widht' in [format]\n"
            "    3 | bit_widht = 8\n"
            "      | ^^^^^^^^^ did you mean 'bit_width'?\n");
}

TEST(Diagnostics, RenderAlignsLongLineNumbers) {
  std::string text;
  for (int i = 1; i < 14; ++i) text += "#\n";
  Diagnostics diagnostics("c.toml", text + "bad = 1");
  diagnostics.add({14, 1, 4}, "unknown key");
  EXPECT_EQ(diagnostics.render(),
            "c.toml:14:1: unknown key\n"
            "   14 | bad = 1\n"
            "      | ^^^\n");
}

TEST(Diagnostics, RenderOrdersByPlaceAndPutsPlacelessLast) {
  Diagnostics diagnostics("c.toml", "one\ntwo\n");
  diagnostics.add({}, "nowhere", "add it");
  diagnostics.add({2, 2, 3}, "third");
  diagnostics.add({2, 1, 2}, "second");
  diagnostics.add({1, 3, 4}, "first");
  EXPECT_EQ(diagnostics.render(),
            "c.toml:1:3: first\n    1 | one\n      |   ^\n"
            "c.toml:2:1: second\n    2 | two\n      | ^\n"
            "c.toml:2:2: third\n    2 | two\n      |  ^\n"
            "c.toml: nowhere (add it)\n");
}

TEST(Diagnostics, CaretLineKeepsTabs) {
  Diagnostics diagnostics("c.toml", "\t\tkey\t= 3\n");
  diagnostics.add({1, 7, 8}, "bad");
  EXPECT_EQ(diagnostics.render(), "c.toml:1:7: bad\n    1 | \t\tkey\t= 3\n      | \t\t   \t^\n");
}

TEST(Diagnostics, CaretCountsCodePointsNotBytes) {
  // U+00E4 has two bytes, U+1F600 four: the caret stands below the x, column 9.
  Diagnostics diagnostics("c.toml", "k = \"\xC3\xA4\xF0\x9F\x98\x80\" x\n");
  diagnostics.add({1, 10, 11}, "bad");
  EXPECT_EQ(diagnostics.render(),
            "c.toml:1:10: bad\n    1 | k = \"\xC3\xA4\xF0\x9F\x98\x80\" x\n      |          ^\n");
}

TEST(Diagnostics, CaretMayStandBehindTheLine) {
  Diagnostics diagnostics("c.toml", "key =\n");
  diagnostics.add({1, 6, 7}, "a value is missing");
  diagnostics.add({2, 1, 2}, "the text ends here");
  EXPECT_EQ(diagnostics.render(),
            "c.toml:1:6: a value is missing\n    1 | key =\n      |      ^\n"
            "c.toml:2:1: the text ends here\n    2 |\n      | ^\n");
}

TEST(Diagnostics, PlaceOutsideTheTextShowsNoLine) {
  Diagnostics diagnostics("c.toml", "a\n");
  diagnostics.add({9, 4, 5}, "bad", "hint");
  EXPECT_EQ(diagnostics.render(), "c.toml:9:4: bad (hint)\n");
}

TEST(Diagnostics, CaretsEndWithTheLine) {
  Diagnostics diagnostics("c.toml", "x = [1,\n");
  diagnostics.add({1, 5, 1000000}, "bad");
  EXPECT_EQ(diagnostics.render(), "c.toml:1:5: bad\n    1 | x = [1,\n      |     ^^^\n");
}

TEST(Diagnostics, LongLineIsCutAroundThePlace) {
  const std::string line = std::string(500, 'a') + "HERE" + std::string(500, 'b');
  Diagnostics diagnostics("c.toml", line);
  diagnostics.add({1, 501, 505}, "bad");
  EXPECT_EQ(diagnostics.render(), "c.toml:1:501: bad\n    1 | ..." + std::string(40, 'a') + "HERE" +
                                      std::string(76, 'b') + "...\n      | " +
                                      std::string(43, ' ') + "^^^^\n");
}

TEST(Diagnostics, ControlCharactersAndBrokenUtf8AreReplaced) {
  Diagnostics diagnostics("c.toml", "a\x1B[31m\xFF\xC3 b\r\nnext");
  diagnostics.add({1, 10, 11}, "bad");
  EXPECT_EQ(diagnostics.render(),
            "c.toml:1:10: bad\n"
            "    1 | a\xEF\xBF\xBD[31m\xEF\xBF\xBD\xEF\xBF\xBD b\n"
            "      |          ^\n");
}

TEST(Diagnostics, ByteOrderMarkIsNoColumn) {
  Diagnostics diagnostics("c.toml", "\xEF\xBB\xBFkey = 1");
  diagnostics.add({1, 1, 4}, "bad");
  EXPECT_EQ(diagnostics.render(), "c.toml:1:1: bad\n    1 | key = 1\n      | ^^^\n");
}

TEST(Diagnostics, ThrowCarriesEverythingAndACount) {
  Diagnostics diagnostics("c.toml", "a = 1\n");
  EXPECT_NO_THROW(diagnostics.throw_if_any());
  EXPECT_TRUE(diagnostics.empty());
  diagnostics.add({1, 1, 2}, "bad");
  diagnostics.add({}, "worse");
  EXPECT_FALSE(diagnostics.empty());
  try {
    diagnostics.throw_if_any();
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    EXPECT_EQ(std::string(error.what()), diagnostics.render() + "2 errors in c.toml");
  }
}

TEST(Nearest, FindsSlipsOfTheKeyboard) {
  const std::vector<std::string> known = {"bit_width", "batch", "device", "seed", "fp16", "int8"};
  EXPECT_EQ(nearest("bit_widht", known), "bit_width");  // neighbours swapped
  EXPECT_EQ(nearest("bitwidth", known), "bit_width");
  EXPECT_EQ(nearest("bacth", known), "batch");
  EXPECT_EQ(nearest("devices", known), "device");
  EXPECT_EQ(nearest("FP16", known), "fp16");
  EXPECT_EQ(nearest("sed", known), "seed");
}

TEST(Nearest, KeepsQuietWhenNothingIsNear) {
  const std::vector<std::string> known = {"bit_width", "batch", "x"};
  EXPECT_EQ(nearest("colour", known), "");
  EXPECT_EQ(nearest("b", known), "");
  EXPECT_EQ(nearest("y", known), "");
  EXPECT_EQ(nearest("", known), "");
  EXPECT_EQ(nearest("batch", std::vector<std::string>{}), "");
  EXPECT_EQ(nearest(std::string(1000000, 'b'), known), "");
}

TEST(Nearest, AllowsAThirdOfTheLength) {
  const std::vector<std::string> known = {"abcdefghi"};
  EXPECT_EQ(nearest("xyzdefghi", known), "abcdefghi");  // 3 of 9
  EXPECT_EQ(nearest("wxyzefghi", known), "");           // 4 of 9
}

TEST(Nearest, PrefersTheSmallerDistance) {
  const std::vector<std::string> known = {"layer1.1.conv1", "layer1.0.conv2", "layer2.0.conv1"};
  EXPECT_EQ(nearest("layer1.0.conv3", known), "layer1.0.conv2");
}

// A surrogate, a character that is written too long, and what lies beyond Unicode.
TEST(Diagnostics, ShowsForbiddenUtf8AsReplacementsByteByByte) {
  const std::string mark = "\xEF\xBF\xBD";
  for (const std::string bytes : {"\xED\xA0\x80", "\xE0\x80\xAF", "\xF5\x80\x80\x80"}) {
    Diagnostics diagnostics("c.toml", "a = " + bytes + "\n");
    diagnostics.add({1, 5, 6}, "odd");
    std::string shown;
    for (std::size_t i = 0; i < bytes.size(); ++i) shown += mark;
    EXPECT_THAT(diagnostics.render(), testing::HasSubstr("    1 | a = " + shown + "\n"));
  }
}

}  // namespace
}  // namespace bitfall::diagnostics_test
