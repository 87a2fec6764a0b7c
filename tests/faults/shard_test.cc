#include "shard.h"

#include <gtest/gtest.h>

namespace bitfall::shard_test {
namespace {

TEST(Shard, HasOneTextHoweverItIsGiven) {
  for (const char* text : {"2/4", "02/4", "2/04"}) {
    EXPECT_EQ(parse_shard(text), (Shard{2, 4})) << text;
  }
  EXPECT_EQ(to_string(Shard{2, 4}), "2/4");
}

TEST(Shard, IsOneOfItsCount) {
  for (const char* text : {"", "2", "/4", "2/", "0/4", "5/4", "-1/4", "2/4x", "2 /4", "1/9e9",
                           "99999999999999999999/4"}) {
    EXPECT_FALSE(parse_shard(text)) << text;
  }
}

}  // namespace
}  // namespace bitfall::shard_test
