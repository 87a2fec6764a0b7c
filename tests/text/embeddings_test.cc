#include "embeddings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "class_names.h"
#include "json_file.h"
#include "python_oracle.h"
#include "refusal.h"

namespace bitfall::embeddings_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const fs::path kText = fs::path(BITFALL_SHARED_DATA) / "text";

class Embeddings : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fresh_folder(testing::TempDir(), std::string("embeddings_") + test->name());
  }

  fs::path write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ / name) << content;
    return folder_ / name;
  }

  std::vector<std::vector<std::int64_t>> rows(const std::vector<std::string>& classes) {
    std::vector<std::vector<std::int64_t>> places;
    testing::internal::CaptureStderr();
    for (const ClassRows& entry : match_rows(files_, table_, classes)) {
      places.push_back(entry.rows);
    }
    said_ = testing::internal::GetCapturedStderr();
    return places;
  }

  std::string refusal(const std::vector<std::string>& classes) {
    return error_of(
        [&] { unit_rows(files_, table_, classes, match_rows(files_, table_, classes)); });
  }

  fs::path folder_;
  EmbeddingTable table_{4, 2, {3, 4, 0, 2, -5, 0, 1, 1}};
  EmbeddingFiles files_{"table.npy", "", "", ""};
  std::string said_;
};

using Rows = std::vector<std::int64_t>;

TEST_F(Embeddings, RowsAreDirections) {
  const std::vector<std::string> classes = {"a", "b", "c", "d"};
  std::vector<double> lengths;
  const EmbeddingTable unit =
      unit_rows(files_, table_, classes, match_rows(files_, table_, classes), &lengths);
  const float half = static_cast<float>(std::sqrt(0.5));
  EXPECT_THAT(unit.values, ElementsAre(0.6F, 0.8F, 0, 1, -1, 0, half, half));
  EXPECT_THAT(lengths, ElementsAre(5, 2, 5, std::sqrt(2.0)));
}

TEST_F(Embeddings, SeveralRowsAreAveragedAsDirections) {
  files_.map = write("map.json", R"({"up": [1, 3], "left": 2})");
  const std::vector<std::string> classes = {"left", "up"};
  std::vector<double> lengths;
  const EmbeddingTable unit =
      unit_rows(files_, table_, classes, match_rows(files_, table_, classes), &lengths);
  // (0, 1) and (1, 1)/sqrt(2): halfway between 90 and 45 degrees, whatever their lengths.
  const double angle = 67.5 / 180 * M_PI;
  EXPECT_EQ(unit.row(0)[0], -1);
  EXPECT_NEAR(unit.row(1)[0], std::cos(angle), 1e-7);
  EXPECT_NEAR(unit.row(1)[1], std::sin(angle), 1e-7);
  EXPECT_NEAR(lengths[1], std::cos(22.5 / 180 * M_PI), 1e-12);
}

TEST_F(Embeddings, NamesMatchExactlyElseLoosely) {
  files_.classes = write("names.txt", "Red_Square\nblue square\nred-circle\nred circle\n");
  EXPECT_THAT(rows({"blue square", "Red_Square"}), ElementsAre(Rows{1}, Rows{0}));
  EXPECT_THAT(said_, IsEmpty());
  EXPECT_THAT(rows({"red square", "BlueSquare"}), ElementsAre(Rows{0}, Rows{1}));
  EXPECT_THAT(said_, HasSubstr("without regard to case, '_', '-' and blanks: 'red square', "));
  // One spelling is exact, though two are alike.
  EXPECT_THAT(rows({"red circle"}), ElementsAre(Rows{3}));
  EXPECT_THAT(said_, IsEmpty());
  EXPECT_THAT(refusal({"Red Circle"}), HasSubstr("no row for 1 of 1 classes: 'Red Circle'"));
}

TEST_F(Embeddings, NamesAllMissingClasses) {
  files_.classes = write("names.json", R"(["tench", "goldfish", "hen", "jay"])");
  EXPECT_THAT(refusal({"hen", "goldfisch", "quokka"}),
              AllOf(HasSubstr("names.json: has no row for 2 of 3 classes: "),
                    EndsWith("'goldfisch' (near it: 'goldfish'), 'quokka'")));
}

TEST_F(Embeddings, ANameOfSeveralRowsMustBeClear) {
  files_.classes = write("names.txt", "missile\nhen\nmissile\njay\n");
  EXPECT_THAT(rows({"missile", "jay", "missile"}), ElementsAre(Rows{0}, Rows{3}, Rows{2}));
  EXPECT_THAT(refusal({"missile", "jay"}),
              HasSubstr("'missile' belongs to rows 0, 2, which differ"));
  table_.values = {1, 0, 0, 1, 1, 0, 1, 1};
  EXPECT_THAT(rows({"missile", "jay"}), ElementsAre(Rows{0}, Rows{3}));
}

TEST_F(Embeddings, WarnsOfASharedRow) {
  files_.map = write("map.json", R"({"deer": [1, 2], "elk": [2, 1], "cow": 0})");
  EXPECT_THAT(rows({"deer", "cow", "elk"}), ElementsAre(Rows{1, 2}, Rows{0}, Rows{2, 1}));
  EXPECT_THAT(said_, HasSubstr("classes 'deer', 'elk' share one embedding, of rows 1, 2"));
}

TEST_F(Embeddings, AMapTakesNamesAndNumbers) {
  files_.classes = write("names.txt", "hen\njay\nhen\nowl\n");
  files_.map = write("map.json", R"({"bird": ["jay", 3], "night bird": "Owl", "x": []})");
  EXPECT_THAT(rows({"night_bird", "bird"}), ElementsAre(Rows{3}, Rows{1, 3}));
  EXPECT_THAT(said_, HasSubstr("'night_bird'"));
  EXPECT_THAT(refusal({"x"}), HasSubstr("class 'x' has no rows"));
  EXPECT_THAT(refusal({"bird", "brid", "fish"}),
              HasSubstr("lacks 2 of 3 classes: 'brid' (near it: 'bird'), 'fish'"));
  const auto of_entry = [this](const std::string& value) {
    files_.map = write("map.json", "{\"a\": " + value + "}");
    return refusal({"a"});
  };
  EXPECT_THAT(of_entry("4"), HasSubstr("row 4 does not exist; table.npy has rows 0 to 3"));
  EXPECT_THAT(of_entry("-1"), HasSubstr("row -1 does not exist"));
  EXPECT_THAT(of_entry("18446744073709551615"), HasSubstr("does not exist"));
  EXPECT_THAT(of_entry("1.0"), HasSubstr("names, numbers from 0, or an array"));
  EXPECT_THAT(of_entry("[[1]]"), HasSubstr("names, numbers from 0, or an array"));
  EXPECT_THAT(of_entry("\"hawk\""), HasSubstr("class 'a': no row is called 'hawk'"));
  EXPECT_THAT(of_entry("\"hen\""), HasSubstr("rows 0, 2 are all called 'hen', but differ"));
  files_.classes = "";
  EXPECT_THAT(of_entry("\"jay\""), HasSubstr("no list names the rows of table.npy"));
  files_.map = write("map.json", "[1]");
  EXPECT_THAT(refusal({"a"}), HasSubstr("a class map is a JSON object"));
}

TEST_F(Embeddings, CountsMustAgree) {
  EXPECT_THAT(refusal({"a", "b", "c"}),
              HasSubstr("table.npy: has 4 rows, but there are 3 classes"));
  files_.classes = write("names.txt", "a\nb\nc\n");
  EXPECT_THAT(refusal({"a"}), HasSubstr("names.txt: has 3 names, but table.npy has 4 rows"));
}

TEST_F(Embeddings, RefusesRowsWithoutDirection) {
  table_.values = {0,
                   0,
                   1,
                   1,
                   std::numeric_limits<float>::quiet_NaN(),
                   1,
                   1,
                   std::numeric_limits<float>::infinity()};
  EXPECT_THAT(refusal({"a", "b", "c", "d"}),
              AllOf(HasSubstr("row 0 (class 'a') is all zero"), Not(HasSubstr("row 1")),
                    HasSubstr("row 2 (class 'c') holds NaN or Inf"),
                    HasSubstr("row 3 (class 'd') holds NaN or Inf")));
  // Rows that no class takes do no harm.
  files_.map = write("map.json", R"({"b": 1})");
  EXPECT_THAT(rows({"b"}), ElementsAre(Rows{1}));
  table_.values = {1, 2, -2, -4, 0, 1, 1, 1};
  files_.map = write("map.json", R"({"b": [0, 1]})");
  EXPECT_THAT(refusal({"b"}), HasSubstr("rows 0, 1 (class 'b') cancel out"));
}

TEST_F(Embeddings, RowsMayBringTheirNames) {
  table_.names = {"hen", "jay", "Owl", "kite"};
  EXPECT_THAT(rows({"owl", "hen"}), ElementsAre(Rows{2}, Rows{0}));
  EXPECT_THAT(said_, HasSubstr("matched without regard to case"));
  EXPECT_THAT(refusal({"hen", "cow"}),
              AllOf(HasSubstr("table.npy: has no row for 1 of 2 classes"), HasSubstr("'cow'")));
  files_.map = write("map.json", R"({"bird": ["jay", 3]})");
  EXPECT_THAT(rows({"bird"}), ElementsAre(Rows{1, 3}));
  files_.map.clear();
  files_.classes = write("names.txt", "a\nb\nc\nd\n");
  EXPECT_THAT(refusal({"a"}),
              HasSubstr("names.txt: names the rows of table.npy, which names them"));
}

// CLIP's notebooks stack the classes as columns: [width, classes].
TEST_F(Embeddings, ClassesAsColumnsAreNamed) {
  EXPECT_THAT(refusal({"a", "b"}),
              AllOf(HasSubstr("has 4 rows, but there are 2 classes; it has 2 columns"),
                    HasSubstr("save the transpose of table.npy")));
  EXPECT_THAT(refusal({"a", "b", "c"}), Not(HasSubstr("transpose")));
  files_.classes = write("names.txt", "a\nb\n");
  EXPECT_THAT(refusal({"a", "b"}), HasSubstr("save the transpose of table.npy"));
}

TEST_F(Embeddings, JsonNamesAKeyOnce) {
  const fs::path twice = write("b.json", R"({"x": {"a": 1}, "y": {"a": 2}, "x": 3})");
  EXPECT_THAT(error_of([&] { read_json(twice); }), HasSubstr("b.json: the key 'x' occurs twice"));
}

TEST_F(Embeddings, PublishedFilesServeCifar) {
  if (!fs::exists(kText)) GTEST_SKIP() << kText << " is not there";
  const std::vector<std::string> classes = {"airplane", "automobile", "bird",  "cat",  "deer",
                                            "dog",      "frog",       "horse", "ship", "truck"};
  const EmbeddingFiles files{kText / "imagenet_a-photo-of-a.pth", kText / "imagenet_classes.json",
                             kText / "cifar10_from_imagenet.json", ""};
  testing::internal::CaptureStderr();
  const EmbeddingTable unit = class_embeddings(files, classes);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), IsEmpty());
  ASSERT_EQ(unit.rows, 10);
  ASSERT_EQ(unit.width, 512);
  if (!has_python()) GTEST_SKIP() << "no Python with PyTorch at " << BITFALL_PYTHON;
  // The oracle: the same rule in PyTorch.
  const std::string expected = run_script(
      "make_class_embeddings.py", {files.table.string(), files.map.string(), "airplane", "deer"});
  std::vector<float> values(2 * 512);
  ASSERT_EQ(expected.size(), values.size() * sizeof(float));
  std::memcpy(values.data(), expected.data(), expected.size());
  for (std::size_t k = 0; k < 512; ++k) {
    EXPECT_NEAR(unit.row(0)[k], values[k], 1e-6);
    EXPECT_NEAR(unit.row(4)[k], values[512 + k], 1e-6);
  }
}

TEST_F(Embeddings, PublishedFilesServeImagenet) {
  if (!fs::exists(kText)) GTEST_SKIP() << kText << " is not there";
  const EmbeddingFiles files{kText / "imagenet_gpt3.pth", kText / "imagenet_classes.json", "", ""};
  const std::vector<std::string> classes = read_class_names(files.classes);
  ASSERT_EQ(classes.size(), 1000U);
  const EmbeddingTable table = read_table(files.table, "");
  const EmbeddingTable unit = class_embeddings(files, classes);
  // Rows of length 1 stay as they are, in their order, also those of the two names that occur
  // twice.
  for (std::size_t i = 0; i < table.values.size(); ++i) {
    ASSERT_NEAR(unit.values[i], table.values[i], 1e-6) << i;
  }
}

}  // namespace
}  // namespace bitfall::embeddings_test
