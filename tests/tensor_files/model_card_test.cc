#include "model_card.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "error.h"
#include "python_oracle.h"

namespace bitfall::model_card_test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ModelCards : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!has_python()) return;
    folder_ = fresh_folder(testing::TempDir(), "model_cards");
    run_script("make_model_cards.py", {folder_.string()});
  }
  void SetUp() override {
    if (!has_python()) GTEST_SKIP() << "no Python environment: run scripts/setup.sh";
  }
  static ModelCard card(const char* name) { return read_model_card(folder_ / name); }

  static inline fs::path folder_;
};

TEST_F(ModelCards, AreReadFromTheArchive) {
  const ModelCard full = card("full.pt");
  EXPECT_EQ(full.name, "tiny");
  EXPECT_THAT(full.input, ElementsAre(3, 8, 6));
  EXPECT_THAT(full.classes, ElementsAre("ant", "grüner Käfer"));
  EXPECT_EQ(full.method, "trace");
  EXPECT_EQ(full.interpolation, "bicubic");
  EXPECT_THAT(full.mean, ElementsAre(0.5, 0.25, 0));
  EXPECT_THAT(full.std, ElementsAre(1, 2, 3));
  ASSERT_TRUE(full.head.has_value());
  EXPECT_EQ(full.head->module, "top.fc");
  EXPECT_EQ(full.head->init, "text_guided");
  EXPECT_EQ(full.head->options, "cosine = false");
  EXPECT_FALSE(full.head->replaced_bias);
  EXPECT_EQ(model_card_json(folder_ / "full.pt").at("schema"), "bitfall.model/1");
}

TEST_F(ModelCards, MayLackAnything) {
  for (const char* name : {"none.pt", "deep.pt", "odd.pt", "broken.pt", "truncated.pt", "empty.pt",
                           "absent.pt", "."}) {
    SCOPED_TRACE(name);
    const ModelCard found = card(name);
    EXPECT_EQ(found.name, "");
    EXPECT_THAT(found.input, ElementsAre(0, 0, 0));
    EXPECT_THAT(found.classes, IsEmpty());
    EXPECT_EQ(found.method, "");
    EXPECT_EQ(found.interpolation, "");
    EXPECT_THAT(found.mean, IsEmpty());
    EXPECT_THAT(found.std, IsEmpty());
    EXPECT_FALSE(found.head.has_value());
    EXPECT_THAT(input_shape(found, "1x28x30"), ElementsAre(1, 28, 30));
  }
  EXPECT_THAT(input_shape(card("none.pt"), ""), ElementsAre(3, 224, 224));
  EXPECT_THAT(input_shape(card("full.pt"), ""), ElementsAre(3, 8, 6));
}

TEST(InputShape, IsThreeCounts) {
  for (const char* text : {"3x224", "3x0x4", "-3x4x4", "3x4x4x", "3,4,4", "threexfourxfour"}) {
    EXPECT_THROW(input_shape({}, text), Error) << text;
  }
}

}  // namespace
}  // namespace bitfall::model_card_test
