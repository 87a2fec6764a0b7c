#include "site_table.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "fake_format.h"

namespace bitfall::site_table_test {
namespace {

// An activation, a weight, and one that cannot be hit.
std::vector<Site> sites() {
  Site conv{"conv", {"conv/conv#1"}, Target::kActivation, "conv", {2, 3}, 6, ""};
  Site scale{"scale", {}, Target::kWeight, "", {}, 1, ""};
  Site mixed{"mean", {}, Target::kActivation, "mean", {}, 0, "mixes images"};
  return {conv, scale, mixed};
}

// FakeFormat: 4 bits a value, and 3 for every two values begun.
TEST(SiteTable, HasARowPerSite) {
  EXPECT_EQ(sites_text(sites(), FakeFormat()),
            R"(name   kind        operation  shape per image  values  bits  note
-----  ----------  ---------  ---------------  ------  ----  ---------------------
conv   activation  conv       2x3                   6    33
scale  weight      -          scalar                1     7
mean   activation  mean       -                     -     -  refused: mixes images
)");
}

TEST(SiteTable, JsonHoldsTheSame) {
  const auto document = nlohmann::json::parse(sites_json(sites(), FakeFormat()));
  EXPECT_EQ(document.at("schema"), "bitfall.sites/1");
  ASSERT_EQ(document.at("sites").size(), 3U);
  EXPECT_EQ(document["sites"][0],
            nlohmann::json::parse(R"({"name": "conv", "aliases": ["conv/conv#1"],
              "kind": "activation", "operation": "conv", "shape": [2, 3], "values": 6, "type": "float32", "bits": 33,
              "refusal": null})"));
  EXPECT_EQ(document["sites"][2].at("bits"), 0);
  EXPECT_EQ(document["sites"][2].at("refusal"), "mixes images");
}

}  // namespace
}  // namespace bitfall::site_table_test
