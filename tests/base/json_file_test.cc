#include "json_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace bitfall::json_file_test {
namespace {

using nlohmann::json;

TEST(JsonFile, WholeNumbersAreNoOthers) {
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  for (const std::int64_t value : {std::int64_t{0}, std::int64_t{-7}, kMost, -kMost - 1}) {
    EXPECT_EQ(whole_number(json::parse(std::to_string(value))), value);
  }
  for (const char* text : {"2.5", "2.0", "1e300", "-1e19", "9223372036854775808", "true", "null",
                           "\"3\"", "[3]", "18446744073709551615"}) {
    EXPECT_THROW(whole_number(json::parse(text)), json::type_error) << text;
  }
}

TEST(JsonFile, StoredNumbersFitInto64Bits) {
  EXPECT_EQ(stored_json("[1, -2, 0.5]"), json({1, -2, 0.5}));
  EXPECT_EQ(stored_json("9.2e18"), 9.2e18);
  for (const char* text : {"[1e300]", "{\"a\": {\"b\": -1e19}}", "9223372036854775808.0", "[1,"}) {
    EXPECT_THROW(stored_json(text), json::exception) << text;
  }
}

}  // namespace
}  // namespace bitfall::json_file_test
