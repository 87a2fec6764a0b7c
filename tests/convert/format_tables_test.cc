#include "format_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "format_fixture.h"
#include "text_file.h"

namespace bitfall::format_tables_test {
namespace {

using testing::HasSubstr;

/// The rows of `bitfall formats --json`.
nlohmann::json format_rows() {
  return nlohmann::json::parse(formats_json(first_party_plugins())).at("formats");
}

TEST(ShortNumber, IsExactOrHasThreeDigits) {
  EXPECT_EQ(short_number(448), "448");
  EXPECT_EQ(short_number(65504), "65504");
  EXPECT_EQ(short_number(7.5), "7.5");
  EXPECT_EQ(short_number(1.984375), "1.984375");
  EXPECT_EQ(short_number(0x1p-9), "2^-9");
  EXPECT_EQ(short_number(0x1p24), "2^24");
  EXPECT_EQ(short_number(0.25), "0.25");
  EXPECT_EQ(short_number(0x1.fffffep127), "3.40e38");
  EXPECT_EQ(short_number(0x3p-30), "2.79e-9");
  EXPECT_EQ(short_number(1.0 / 3), "0.333");
  EXPECT_EQ(short_number(0), "-");
  EXPECT_EQ(short_number(INFINITY), "-");
  EXPECT_EQ(short_number(NAN), "-");
}

TEST(FormatTables, HaveARowAFormat) {
  const PluginHost& host = first_party_plugins();
  std::set<std::string> ids;
  for (const auto& component : host.components()) {
    if (component.kind == ComponentKind::kFormat) ids.insert(component.id);
  }
  const std::string markdown = formats_markdown(host), text = formats_text(host);
  const auto json = nlohmann::json::parse(formats_json(host));
  EXPECT_EQ(json["schema"], "bitfall.formats/1");
  ASSERT_EQ(json["formats"].size(), ids.size());
  for (const auto& row : json["formats"]) {
    EXPECT_EQ(ids.count(row["id"]), 1u);
    EXPECT_THAT(markdown, HasSubstr("\n| `" + row["id"].get<std::string>() + "` | "));
    EXPECT_THAT(text, HasSubstr("\n" + row["id"].get<std::string>() + " "));
  }
}

TEST(FormatTables, SayWhatAFormatIs) {
  const PluginHost& host = first_party_plugins();
  const std::string markdown = formats_markdown(host);
  EXPECT_THAT(markdown,
              HasSubstr("\n| `fp16` | 16 | 65504 | 2^-14 | 2^-24 | Inf | NaN | - | yes | "));
  EXPECT_THAT(markdown,
              HasSubstr("\n| `fp8_e4m3` | 8 | 448 | 2^-6 | 2^-9 | saturates | NaN | - | "));
  EXPECT_THAT(markdown, HasSubstr("\n| `float` | options | options | "));
  EXPECT_THAT(markdown, HasSubstr(" | scale (32 bits) | "));
  for (const auto& row : format_rows()) {
    if (row["id"] == "fp16") {
      EXPECT_EQ(row["bits"], 16);
    } else if (row["id"] == "float") {
      EXPECT_TRUE(row["bits"].is_null());
    } else if (row["id"] == "int8") {
      EXPECT_EQ(row["metadata"][0]["bits"], 32);
    }
  }
}

/// The criterion of the column: a payload of 16 bits or fewer is looked at code by code.
TEST(FormatTables, ExactFormatsDecodeToDistinctNumbers) {
  for (const auto& row : format_rows()) {
    if (row["bits"].is_null() || row["bits"] > 16 || !row["metadata"].empty()) continue;
    ASSERT_EQ(row["exact_in_float32"], true) << row["id"];
    const auto format = make_format(row["id"]);
    std::set<float> numbers;
    double largest = 0, smallest = INFINITY;
    for (const float value : decode(*format, all_codes(row["bits"]))) {
      if (!std::isfinite(value)) continue;
      EXPECT_TRUE(value == 0 || numbers.insert(value).second)
          << row["id"] << " has " << value << " twice";
      largest = std::max(largest, std::fabs(static_cast<double>(value)));
      if (value != 0) smallest = std::min(smallest, std::fabs(static_cast<double>(value)));
    }
    EXPECT_EQ(row["largest"], largest) << row["id"];
    EXPECT_EQ(row["smallest"], smallest) << row["id"];
  }
}

TEST(FormatTables, ReadmeHoldsTheTable) {
  const std::string begin = "<!-- formats -->\n", end = "<!-- /formats -->\n";
  const std::string readme = read_text(BITFALL_SOURCE_DIR "/formats/README.md");
  const std::size_t first = readme.find(begin), last = readme.find(end);
  ASSERT_NE(first, readme.npos) << "formats/README.md lacks the line " << begin;
  ASSERT_NE(last, readme.npos) << "formats/README.md lacks the line " << end;
  ASSERT_LT(first, last);
  const std::size_t start = first + begin.size();
  EXPECT_EQ(readme.substr(start, last - start), formats_markdown(first_party_plugins()))
      << "`bitfall formats --markdown` prints what belongs between the lines <!-- formats --> and "
         "<!-- /formats -->";
}

}  // namespace
}  // namespace bitfall::format_tables_test
