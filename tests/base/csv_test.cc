#include "csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bitfall::csv_test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Rows = std::vector<std::vector<std::string>>;

Rows rows_of(CsvReader& reader) {
  Rows rows;
  while (const auto* row = reader.next()) {
    rows.emplace_back();
    for (const CsvField& field : *row) rows.back().push_back(field.text);
  }
  return rows;
}

Rows rows_of(const std::string& text) {
  CsvReader reader(text);
  Rows rows = rows_of(reader);
  EXPECT_FALSE(reader.problem()) << reader.problem()->message;
  return rows;
}

/// "line:column message" of a text that cannot be read to its end.
std::string problem_of(const std::string& text) {
  CsvReader reader(text);
  rows_of(reader);
  if (!reader.problem()) return "none";
  return std::to_string(reader.problem()->where.line) + ":" +
         std::to_string(reader.problem()->where.column) + " " + reader.problem()->message;
}

TEST(Csv, PlainRows) {
  EXPECT_THAT(rows_of("a,b\nc,d\n"), ElementsAre(ElementsAre("a", "b"), ElementsAre("c", "d")));
  EXPECT_THAT(rows_of("a,b\nc,d"), ElementsAre(ElementsAre("a", "b"), ElementsAre("c", "d")));
  EXPECT_THAT(rows_of(",\n"), ElementsAre(ElementsAre("", "")));
  EXPECT_THAT(rows_of("a,"), ElementsAre(ElementsAre("a", "")));
  EXPECT_THAT(rows_of(" a ,b"), ElementsAre(ElementsAre(" a ", "b")));
}

TEST(Csv, EmptyTextsHaveNoRows) {
  EXPECT_THAT(rows_of(""), IsEmpty());
  EXPECT_THAT(rows_of("\xEF\xBB\xBF"), IsEmpty());
  EXPECT_THAT(rows_of("\n\r\n \t\n\r"), IsEmpty());
}

TEST(Csv, EveryLineEnd) {
  EXPECT_THAT(rows_of("a\r\nb\nc\rd\r\n\r\n"),
              ElementsAre(ElementsAre("a"), ElementsAre("b"), ElementsAre("c"), ElementsAre("d")));
}

TEST(Csv, ByteOrderMarkIsNoText) {
  EXPECT_THAT(rows_of("\xEF\xBB\xBF\"a\",b"), ElementsAre(ElementsAre("a", "b")));
}

// RFC 4180, section 2, rules 5 to 7.
TEST(Csv, QuotedFields) {
  EXPECT_THAT(rows_of("\"aaa\",\"b\r\nbb\",\"ccc\"\r\nzzz,yyy,xxx"),
              ElementsAre(ElementsAre("aaa", "b\r\nbb", "ccc"), ElementsAre("zzz", "yyy", "xxx")));
  EXPECT_THAT(rows_of("\"aaa\",\"b\"\"bb\",\"c,c\""),
              ElementsAre(ElementsAre("aaa", "b\"bb", "c,c")));
  EXPECT_THAT(rows_of("\"\",\"\"\"\""), ElementsAre(ElementsAre("", "\"")));
  EXPECT_THAT(rows_of("a\"b"), ElementsAre(ElementsAre("a\"b")));
}

TEST(Csv, PlacesCountLinesAndCodePoints) {
  CsvReader reader(
      "\xEF\xBB\xBF"
      "a,\xC3\xA4\xC3\xA4,b\r\n\n\"x\ny\",\"\xF0\x9F\x98\x80\",z\n");
  const auto places = [](const std::vector<CsvField>& row) {
    std::vector<std::pair<std::int64_t, std::int64_t>> result;
    for (const CsvField& field : row) result.emplace_back(field.where.line, field.where.column);
    return result;
  };
  using Place = std::pair<std::int64_t, std::int64_t>;
  EXPECT_THAT(places(*reader.next()), ElementsAre(Place(1, 1), Place(1, 3), Place(1, 6)));
  EXPECT_THAT(places(*reader.next()), ElementsAre(Place(3, 1), Place(4, 4), Place(4, 8)));
  EXPECT_EQ(reader.next(), nullptr);
}

TEST(Csv, LongFieldsAreWhole) {
  const std::string field(700000, 'x');
  EXPECT_THAT(rows_of(field + ',' + field + "\n" + field),
              ElementsAre(ElementsAre(field, field), ElementsAre(field)));
}

TEST(Csv, ProblemsHaveTheirPlace) {
  EXPECT_EQ(problem_of("a\nb,\"c\n\nd"), "2:3 the quote that opens here is never closed");
  EXPECT_EQ(problem_of("a,\"b\"c\n"), "1:6 a comma or the line's end must follow a closing quote");
  EXPECT_EQ(problem_of("\"" + std::string(2000000, 'x')),
            "1:1 the quoted field is longer than 1 MiB; is a quote left open?");
  EXPECT_EQ(problem_of("a\n" + std::string(2000000, 'x')), "2:1 the field is longer than 1 MiB");
  EXPECT_EQ(problem_of(std::string(20000, ',')), "1:10001 the row has more than 10000 fields");
}

}  // namespace
}  // namespace bitfall::csv_test
