#include "class_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "python_oracle.h"
#include "refusal.h"
#include "words.h"

namespace bitfall::class_list_test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class ClassLists : public testing::Test {
 protected:
  fs::path write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  std::vector<std::string> names(const std::string& file, const std::string& text) const {
    const ClassList list = read_class_list(write(file, text));
    EXPECT_THAT(list.ids, IsEmpty());
    return list.names;
  }
  std::string refusal(const std::string& file, const std::string& text) const {
    const fs::path path = write(file, text);
    const std::string message = error_of([&] { read_distinct_classes(path); });
    EXPECT_THAT(message, StartsWith(path.string() + ":"));
    return message.substr(path.string().size() + 1);
  }

  fs::path folder_ = fresh_folder(testing::TempDir(), "class_lists");
};

TEST_F(ClassLists, AreTexts) {
  EXPECT_THAT(names("a.txt", "hen\n jay \nhen\n\n"), ElementsAre("hen", "jay", "hen"));
  EXPECT_THAT(names("a.txt",
                    "\xEF\xBB\xBF"
                    "hen\r\n\tjay\r\n"),
              ElementsAre("hen", "jay"));
  EXPECT_THAT(names("a.txt", "[none]\n{x}"), ElementsAre("[none]", "{x}"));
  EXPECT_THAT(refusal("a.txt", "hen\n\njay"), StartsWith("2: empty line"));
  EXPECT_THAT(refusal("a.txt", ""), HasSubstr("the class list is empty"));
  EXPECT_THAT(refusal("a.txt", "hen\njay\nhen"), EndsWith("3: class 'hen' is in the list twice"));
}

TEST_F(ClassLists, AreJson) {
  EXPECT_THAT(names("a.json", R"(["hen", "jay"])"), ElementsAre("hen", "jay"));
  EXPECT_THAT(names("a.JSON", R"({"1": "jay", "0": "hen"})"), ElementsAre("hen", "jay"));
  EXPECT_THAT(names("a.json", R"({"jay": 1, "hen": 0})"), ElementsAre("hen", "jay"));
  EXPECT_THAT(names("a.json", R"({"10": 1, "2": 2, "1": 0})"), ElementsAre("1", "10", "2"));
  EXPECT_THAT(names("a.json", "\xEF\xBB\xBF[\"hen\",\r\n\"jay\"]\r\n"), ElementsAre("hen", "jay"));
  EXPECT_THAT(names("names.txt", " [\"hen\",\n\"jay\"]"), ElementsAre("hen", "jay"));
  EXPECT_THAT(names("names", R"({"0": "hen"})"), ElementsAre("hen"));
}

TEST_F(ClassLists, HaveIds) {
  const ClassList list = read_class_list(
      write("a.json", R"({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]})"));
  EXPECT_THAT(list.names, ElementsAre("tench", "goldfish"));
  EXPECT_THAT(list.ids, ElementsAre("n01440764", "n01443537"));
  const ClassList pairs = read_class_list(write("a.json", R"([["n1", "a"], ["n2", "a"]])"));
  EXPECT_THAT(pairs.ids, ElementsAre("n1", "n2"));
  const ClassList words = read_distinct_classes(
      write("a.txt", "n01440764 tench, Tinca tinca\nn01443537\tgoldfish\r\n"));
  EXPECT_THAT(words.names, ElementsAre("tench, Tinca tinca", "goldfish"));
  EXPECT_THAT(words.ids, ElementsAre("n01440764", "n01443537"));
  EXPECT_THAT(names("b.txt", "n01440764\nn01443537\n"), ElementsAre("n01440764", "n01443537"));
  EXPECT_THAT(names("b.txt", "n01440764 tench\nother\n"), ElementsAre("n01440764 tench", "other"));
  EXPECT_THAT(refusal("a.json", R"([["n1", "a"], ["n1", "b"]])"),
              EndsWith(" class 'n1' is in the list twice: as number 0 and 1"));
}

TEST_F(ClassLists, AreRefusedWithTheirPlace) {
  EXPECT_THAT(refusal("a.json", "[\"hen\",\n \"jay\" \"owl\"]"),
              StartsWith("2:12: not valid JSON: "));
  EXPECT_THAT(refusal("a.json", ""), StartsWith("1:1: not valid JSON: "));
  EXPECT_THAT(refusal("a.json", "{}"), EndsWith("the list of classes is empty"));
  EXPECT_THAT(refusal("a.json", "[]"), EndsWith("the list of classes is empty"));
  EXPECT_THAT(refusal("a.json", "3"), HasSubstr("is a JSON array of names, or an object"));
  EXPECT_THAT(refusal("a.json", R"(["a", 1])"), HasSubstr("entry 1 (counted from 0) is not a"));
  EXPECT_THAT(refusal("a.json", R"(["a", ""])"), HasSubstr("entry 1 (counted from 0) is empty"));
  EXPECT_THAT(refusal("a.json", R"(["a\nb"])"), HasSubstr("is not plain text"));
  EXPECT_THAT(refusal("a.json", R"([["n1", "a"], "b"])"), HasSubstr("others only a name"));
  EXPECT_THAT(refusal("a.json", R"({"0": "a", "x": "b"})"),
              HasSubstr("the key 'x' is not an index"));
  EXPECT_THAT(refusal("a.json", R"({"1": "a", "2": "b"})"),
              HasSubstr("names 2 classes, and one has index 2; indices run from 0 to 1"));
  EXPECT_THAT(refusal("a.json", R"({"1": "a", "01": "b"})"),
              HasSubstr("the index 01 occurs twice"));
  EXPECT_THAT(refusal("a.json", R"({"a": 0, "b": 0})"), HasSubstr("the index 0 occurs twice"));
  EXPECT_THAT(refusal("a.json", R"({"a": 0, "b": -1})"), HasSubstr("and one has index -1"));
  EXPECT_THAT(refusal("a.json", R"({"a": 0, "b": "x"})"), HasSubstr("class 'b' is not an integer"));
  EXPECT_THAT(refusal("a.json", R"({"0": ["a", "b", "c"]})"), HasSubstr("class 0 is not a string"));
}

TEST_F(ClassLists, FindClassesByIdsAndNames) {
  const ClassIndex index({{"tench", "crane", "crane"}, {"n1", "n2", "n3"}});
  EXPECT_EQ(index.find("n2"), 1U);
  EXPECT_EQ(index.find("tench"), 0U);
  EXPECT_EQ(index.find("crane"), std::nullopt);
  EXPECT_TRUE(index.is_shared("crane"));
  EXPECT_EQ(index.find("n4"), std::nullopt);
  EXPECT_FALSE(index.is_shared("n4"));
}

TEST(NaturalOrder, IsTimms) {
  if (!has_python("timm")) GTEST_SKIP() << "no Python with timm at " << BITFALL_PYTHON;
  std::mt19937 random(3);
  std::vector<std::string> names = {"1", "01", "001", "10",   "2", "a",
                                    "A", "a1", "a01", "a10b", "B2"};
  const std::string letters = "abAB0129_ .-";
  for (int i = 0; i < 500; ++i) {
    std::string name = "x";
    for (auto length = random() % 8; length > 0; --length)
      name += letters[random() % letters.size()];
    names.push_back(name.substr(random() % 2));
  }
  std::erase(names, "");
  std::sort(names.begin(), names.end());
  std::vector<std::string> arguments = {"natural"};
  arguments.insert(arguments.end(), names.begin(), names.end());
  EXPECT_EQ(joined(natural_order(names), "\n") + "\n", run_oracle(arguments));
}

TEST(NaturalOrder, IsShownInParts) {
  EXPECT_EQ(excerpt({"a", "b"}, 0), "'a', 'b'");
  EXPECT_EQ(excerpt({"a", "b", "c", "d", "e"}, 1), "..., 'b', 'c', 'd', ...");
}

}  // namespace
}  // namespace bitfall::class_list_test
