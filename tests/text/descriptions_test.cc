#include "descriptions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "class_names.h"
#include "python_oracle.h"
#include "refusal.h"

namespace bitfall::descriptions_test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const fs::path kText = fs::path(BITFALL_SHARED_DATA) / "text";

class Descriptions : public testing::Test {
 protected:
  fs::path write(const std::string& content) {
    const fs::path path = fresh_folder(testing::TempDir(), "descriptions") / "d.json";
    std::ofstream(path) << content;
    return path;
  }
  std::string refusal(const std::string& content) {
    const fs::path path = write(content);
    return error_of([&] { read_descriptions(path); });
  }
};

TEST_F(Descriptions, AreTrimmedAndCounted) {
  const auto all = read_descriptions(write(
      R"({"jay": [" A blue\nbird ", ".", "", "\n\n", "A  blue bird", ". . .", "Säger\t\r\nx."],
          "hen": ["A hen."]})"));
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].name, "jay");
  EXPECT_THAT(all[0].texts, ElementsAre("A blue bird", "A blue bird", "Säger x."));
  EXPECT_EQ(all[0].dropped, 4);
  EXPECT_EQ(all[0].duplicates, 1);
  EXPECT_THAT(all[1].texts, ElementsAre("A hen."));
  EXPECT_EQ(all[1].dropped, 0);
}

TEST_F(Descriptions, FollowTheOrderOfTheClasses) {
  const fs::path path = write(R"({"jay": ["a"], "Great_hen": ["b", "c"], "owl": ["d"]})");
  const std::vector<std::string> classes = {"owl", "great hen", "owl"};
  testing::internal::CaptureStderr();
  const auto chosen = read_descriptions(path, classes);
  const std::string said = testing::internal::GetCapturedStderr();
  ASSERT_EQ(chosen.size(), 3U);
  EXPECT_EQ(chosen[1].name, "great hen");
  EXPECT_THAT(chosen[1].texts, ElementsAre("b", "c"));
  EXPECT_THAT(chosen[2].texts, ElementsAre("d"));
  EXPECT_THAT(said, HasSubstr("classes 'owl', 'owl' share the descriptions of 'owl'"));
  EXPECT_THAT(said, HasSubstr("'_', '-' and blanks: 'great hen'"));
  const std::vector<std::string> more = {"owl", "jai", "quokka"};
  EXPECT_THAT(error_of([&] { read_descriptions(path, more); }),
              HasSubstr("describes 1 of 3 classes; missing: 'jai' (near it: 'jay'), 'quokka'"));
}

TEST_F(Descriptions, SayWhatIsWrong) {
  EXPECT_THAT(refusal("{\"jay\": [\"a\",\n  \"b\",]}"), HasSubstr("d.json:2:7: not valid JSON"));
  EXPECT_THAT(refusal("[]"), HasSubstr("a JSON object {class: [texts]}"));
  EXPECT_THAT(refusal("{}"), HasSubstr("a JSON object {class: [texts]}"));
  EXPECT_THAT(refusal(R"({"jay": "a"})"), HasSubstr("class 'jay': its descriptions are a list"));
  EXPECT_THAT(refusal(R"({"jay": ["a", 3]})"), HasSubstr("class 'jay': entry 1 is not a text"));
  EXPECT_THAT(refusal(R"({"jay": [".", " "]})"), HasSubstr("'jay': no description is left of 2"));
  EXPECT_THAT(refusal(R"({"jay": ["a"], "jay": ["b"]})"), HasSubstr("key 'jay' occurs twice"));
}

TEST_F(Descriptions, PublishedOnesServeAllOfImagenet) {
  if (!fs::exists(kText)) GTEST_SKIP() << kText << " is not there";
  const auto classes = read_class_names(kText / "imagenet_classes.json");
  testing::internal::CaptureStderr();
  const auto chosen = read_descriptions(kText / "cupl_imagenet_base.json", classes);
  const std::string said = testing::internal::GetCapturedStderr();
  ASSERT_EQ(chosen.size(), 1000U);
  EXPECT_EQ(read_descriptions(kText / "cupl_imagenet_base.json").size(), 998U);
  EXPECT_THAT(said, HasSubstr("'missile', 'missile' share"));
  EXPECT_THAT(said, HasSubstr("'sunglasses', 'sunglasses' share"));
  for (const ClassDescriptions& entry : chosen) {
    EXPECT_EQ(static_cast<std::int64_t>(entry.texts.size()) + entry.dropped, 30) << entry.name;
  }
}

}  // namespace
}  // namespace bitfall::descriptions_test
