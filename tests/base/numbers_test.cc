#include "numbers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace bitfall::numbers_test {
namespace {

TEST(Numbers, IntegersAreReadWholeOrNotAtAll) {
  EXPECT_EQ(parse_integer("0"), 0);
  EXPECT_EQ(parse_integer("-9223372036854775808"), std::numeric_limits<std::int64_t>::min());
  for (const char* text : {"", " 1", "1 ", "+1", "1.0", "0x10", "9223372036854775808", "one"}) {
    EXPECT_FALSE(parse_integer(text)) << text;
  }
}

TEST(Numbers, RealsAreReadWholeOrNotAtAll) {
  EXPECT_EQ(parse_number("0.1"), 0.1);
  EXPECT_EQ(parse_number("-1e-300"), -1e-300);
  EXPECT_EQ(parse_number("inf"), std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(*parse_number("nan")));
  for (const char* text : {"", " 1", "1,5", "1e999", "0.1x"})
    EXPECT_FALSE(parse_number(text)) << text;
}

// There were two readers, of which one refused the last comma.
TEST(Numbers, ListsOfIntegersFollowToml) {
  using List = std::vector<std::int64_t>;
  EXPECT_EQ(parse_integers("[]"), List{});
  EXPECT_EQ(parse_integers("[ ]"), List{});
  EXPECT_EQ(parse_integers("[1]"), List{1});
  EXPECT_EQ(parse_integers("[1,]"), List{1});
  EXPECT_EQ(parse_integers("[0,\t-3 , 7 ]"), (List{0, -3, 7}));
  for (const char* text : {"", "[", "1, 2", "[,]", "[1,,2]", "[1,,]", "[1.5]", "[a]", "[1] "}) {
    EXPECT_FALSE(parse_integers(text)) << text;
  }
}

TEST(Numbers, ExactTextReadsBackAsTheSameNumber) {
  EXPECT_EQ(exact_text(0.1), "0.1");
  EXPECT_EQ(exact_text(0.1f), "0.1");
  EXPECT_EQ(exact_text(-0.0), "-0");
  EXPECT_EQ(exact_text(-std::numeric_limits<double>::quiet_NaN()), "nan");
  for (const double value : {1.0 / 3, 5e-324, 1.7976931348623157e308, -2.5, 1e22}) {
    EXPECT_EQ(parse_number(exact_text(value)), value);
  }
}

TEST(Numbers, ShortTextIsForPeople) {
  EXPECT_EQ(short_text(65535), "65535");
  EXPECT_EQ(short_text(0.1 + 0.2), "0.3");
  EXPECT_EQ(short_text(1e30), "1e+30");
  EXPECT_EQ(short_text(std::numeric_limits<double>::infinity()), "inf");
}

TEST(Numbers, CodesAreHexadecimal) {
  EXPECT_EQ(hex(0), "0x0");
  EXPECT_EQ(hex(0x7f), "0x7f");
  EXPECT_EQ(hex(0xffffffff), "0xffffffff");
}

}  // namespace
}  // namespace bitfall::numbers_test
