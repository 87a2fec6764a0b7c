// The oracle of the preprocessing is torchvision on PIL images, run at test time.
#include "dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <set>
#include <thread>

#include "error.h"
#include "python_oracle.h"
#include "refusal.h"

namespace bitfall::dataset_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

const fs::path kPhotographs = fs::path(BITFALL_SHARED_DATA) / "imagenet_samples";
constexpr std::array<double, 3> kMean = {0.485, 0.456, 0.406};
constexpr std::array<double, 3> kStd = {0.229, 0.224, 0.225};

void write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

/// An RGB PNG, width x height, all samples `level`.
void write_png(const fs::path& path, int level = 7, unsigned width = 2, unsigned height = 2) {
  fs::create_directories(path.parent_path());
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = width;
  image.height = height;
  image.format = PNG_FORMAT_RGB;
  const std::vector<std::uint8_t> pixels(std::size_t{3} * width * height,
                                         static_cast<std::uint8_t>(level));
  ASSERT_TRUE(png_image_write_to_file(&image, path.c_str(), 0, pixels.data(), 0, nullptr));
}

template <typename T>
void write_npy(const fs::path& path, const std::string& descr, const std::string& shape,
               const std::vector<T>& values) {
  const std::string header =
      "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }\n";
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 255);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  write_text(path, bytes);
}

std::vector<float> loaded(const Dataset& data, std::int32_t image) {
  const auto shape = data.shape();
  std::vector<float> values(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
  data.load(image, values);
  return values;
}

std::vector<std::string> names_of(const Dataset& data) {
  std::vector<std::string> names;
  for (std::int32_t i = 0; i < data.size(); ++i) names.push_back(data.name(i));
  return names;
}

std::vector<std::int32_t> labels_of(const Dataset& data) {
  std::vector<std::int32_t> labels;
  for (std::int32_t i = 0; i < data.size(); ++i) labels.push_back(data.label(i));
  return labels;
}

class DatasetTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    root_ = fresh_folder(testing::TempDir(), std::string("dataset_") + test->name());
    config_.path = root_ / "data";
    fs::create_directories(config_.path);
  }

  std::string refusal() const {
    return error_of([this] { Dataset::open(config_); });
  }

  void use_array(const std::vector<std::int64_t>& labels) {
    config_.path = root_ / "images.npy";
    config_.labels = root_ / "labels.npy";
    write_npy(config_.labels, "<i8", "(" + std::to_string(labels.size()) + ",)", labels);
  }

  fs::path root_;
  DataConfig config_;
};

// Preprocessing -----------------------------------------------------------------------------------

struct Pipeline {
  const char* name;
  const char* steps;  // for the oracle
  Preprocess preprocess;
};

std::vector<Pipeline> pipelines() {
  std::vector<Pipeline> all;
  Preprocess imagenet;
  imagenet.resize = 256;
  imagenet.crop = 224;
  imagenet.mean.assign(kMean.begin(), kMean.end());
  imagenet.std.assign(kStd.begin(), kStd.end());
  all.push_back({"imagenet",
                 R"({"resize": 256, "crop": 224, "mean": [0.485, 0.456, 0.406],)"
                 R"( "std": [0.229, 0.224, 0.225]})",
                 imagenet});
  Preprocess grey;
  grey.resize = 33;
  grey.crop = 32;
  grey.mean = {0.5};
  grey.std = {0.25};
  grey.colour = "grey";
  all.push_back(
      {"grey", R"({"resize": 33, "crop": 32, "mean": [0.5], "std": [0.25], "mode": "L"})", grey});
  Preprocess both;
  both.resize = 97;
  both.resize_width = 131;
  all.push_back({"both_sides", R"({"resize": [97, 131]})", both});
  Preprocess bicubic = imagenet;  // as of ViTs
  bicubic.resize = 248;
  bicubic.interpolation = Interpolation::kBicubic;
  all.push_back({"bicubic",
                 R"({"resize": 248, "crop": 224, "mean": [0.485, 0.456, 0.406],)"
                 R"( "std": [0.229, 0.224, 0.225], "interpolation": "bicubic"})",
                 bicubic});
  Preprocess padded;
  padded.crop = 401;
  all.push_back({"padded", R"({"crop": 401})", padded});
  return all;
}

TEST_F(DatasetTest, PreprocessesPhotographsBitForBitAsTorchvision) {
  if (!has_python("torchvision"))
    GTEST_SKIP() << "no Python with torchvision at " << BITFALL_PYTHON;
  if (!fs::exists(kPhotographs)) GTEST_SKIP() << "no photographs in " << kPhotographs;
  fs::create_directory_symlink(fs::canonical(kPhotographs), config_.path / "photographs");
  std::string steps;
  for (const Pipeline& pipeline : pipelines())
    steps += (steps.empty() ? "[" : ", ") + std::string(pipeline.steps);
  const auto answers = ask_oracle({"pipeline", steps + "]", kPhotographs.string()}, 4);
  ASSERT_EQ(answers.size(), 24 * pipelines().size());
  auto answer = answers.begin();
  for (const Pipeline& pipeline : pipelines()) {
    config_.preprocess = pipeline.preprocess;
    const Dataset data = Dataset::open(config_);
    ASSERT_EQ(data.size(), 24);
    for (std::int32_t i = 0; i < data.size(); ++i) {
      const OracleAnswer& expected = *answer++;
      const auto shape = data.shape();
      ASSERT_EQ(expected.sizes, std::vector<std::int64_t>(shape.begin(), shape.end()))
          << pipeline.name;
      const std::vector<float> values = loaded(data, i);
      ASSERT_EQ(values.size() * sizeof(float), expected.data.size());
      EXPECT_EQ(std::memcmp(values.data(), expected.data.data(), expected.data.size()), 0)
          << pipeline.name << ": " << data.name(i);
    }
  }
}

TEST_F(DatasetTest, ScalesByAFactor) {
  write_png(config_.path / "a" / "1.png", 200);
  config_.preprocess.scale = 0.1;
  EXPECT_EQ(loaded(Dataset::open(config_), 0)[0], 200.0F * 0.1F);
  config_.preprocess.scale = 1.0;
  EXPECT_EQ(loaded(Dataset::open(config_), 0)[0], 200.0F);
  config_.preprocess.scale = 1.0 / 255.0;
  EXPECT_EQ(loaded(Dataset::open(config_), 0)[0], 200.0F / 255.0F);
  config_.preprocess.mean = {0.25};  // one value stands for all channels
  EXPECT_EQ(loaded(Dataset::open(config_), 0)[11], 200.0F / 255.0F - 0.25F);
}

TEST_F(DatasetTest, RefusesBadPreprocessing) {
  write_png(config_.path / "a" / "1.png");
  const auto with = [this](const std::function<void(Preprocess&)>& change) {
    DataConfig changed = config_;
    change(changed.preprocess);
    return error_of([&] { Dataset::open(changed); });
  };
  EXPECT_THAT(with([](auto& p) {
                p.mean = {1, 2};
              }),
              HasSubstr("mean has 2 values, the images have 3"));
  EXPECT_THAT(with([](auto& p) { p.std = {1, 0, 1}; }), HasSubstr("std must not be zero"));
  EXPECT_THAT(with([](auto& p) { p.std = {1e-60}; }), HasSubstr("std must not be zero"));
  EXPECT_THAT(with([](auto& p) { p.mean = {NAN}; }), HasSubstr("mean must be finite"));
  EXPECT_THAT(with([](auto& p) { p.scale = 0; }), HasSubstr("scale must be finite and not zero"));
  EXPECT_THAT(with([](auto& p) { p.resize = 0; }),
              HasSubstr("resize = 0 pixels; it must be from 1"));
  EXPECT_THAT(with([](auto& p) { p.crop = -3; }), HasSubstr("crop = -3"));
  EXPECT_THAT(with([](auto& p) { p.crop = 1'000'000; }), HasSubstr("crop = 1000000"));
}

TEST_F(DatasetTest, NamesAnImageThatBecomesTooLarge) {
  write_png(config_.path / "a" / "long.png", 1, 60000, 1);
  config_.preprocess.resize = 4000;
  EXPECT_THAT(refusal(), AllOf(HasSubstr("long.png: "), HasSubstr("too long")));
}

// Folders -----------------------------------------------------------------------------------------

TEST_F(DatasetTest, DealsTheClassesRoundRobin) {
  for (const char* name : {"cat/10.png", "cat/2.PNG", "cat/B.png", "cat/a.png", "dog/x/deep.png",
                           "dog/x.png", "ant/only.png"}) {
    write_png(config_.path / name);
  }
  const Dataset data = Dataset::open(config_);
  EXPECT_THAT(data.classes(), ElementsAre("ant", "cat", "dog"));
  EXPECT_THAT(names_of(data), ElementsAre("ant/only.png", "cat/10.png", "dog/x.png", "cat/2.PNG",
                                          "dog/x/deep.png", "cat/B.png", "cat/a.png"));
  EXPECT_THAT(labels_of(data), ElementsAre(0, 1, 2, 1, 2, 1, 1));
  EXPECT_THAT(data.shape(), ElementsAre(3, 2, 2));
  for (std::int32_t i = 0; i < data.size(); ++i) EXPECT_EQ(data.find(data.name(i)), i);
  EXPECT_EQ(data.find("cat/none.png"), -1);
  EXPECT_EQ(data.find(""), -1);
  config_.limit = 4;
  EXPECT_THAT(names_of(Dataset::open(config_)),
              ElementsAre("ant/only.png", "cat/10.png", "dog/x.png", "cat/2.PNG"));
  config_.limit = 100;
  EXPECT_EQ(Dataset::open(config_).size(), 7);
}

TEST_F(DatasetTest, IgnoresHiddenAndOtherFiles) {
  write_png(config_.path / "a" / "1.png");
  write_png(config_.path / "a" / ".2.png");
  write_png(config_.path / "a" / ".hidden" / "3.png");
  write_png(config_.path / ".git" / "4.png");
  write_png(config_.path / "stray.png");
  write_text(config_.path / "a" / "notes.txt", "x");
  write_text(config_.path / "a" / "png", "x");
  testing::internal::CaptureStderr();
  EXPECT_THAT(names_of(Dataset::open(config_)), ElementsAre("a/1.png"));
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("data: ignored 6 entries: 3 hidden, 1 without extension, 1 .txt, 1 .png "
                        "beside the class folders\n"));
}

// A class whose images are of a kind that is not read vanished without a word.
TEST_F(DatasetTest, LosesNoImagesByTheirKind) {
  write_png(config_.path / "cat" / "1.png");
  write_png(config_.path / "dog" / "1.png");
  write_text(config_.path / "dog" / "2.gif", "GIF89a");
  write_text(config_.path / "dog" / "deep" / "3.HEIC", "x");
  fs::copy_file(config_.path / "cat" / "1.png", config_.path / "dog" / "4");
  fs::copy_file(config_.path / "cat" / "1.png", config_.path / "dog" / "5.dat");
  write_text(config_.path / "dog" / "Thumbs.db", "x");
  EXPECT_THAT(
      refusal(),
      AllOf(StartsWith(config_.path.string() + ": images of kinds that are not read, or "
                                               "not named so: 1 without extension, 1 .dat, "
                                               "1 .gif, 1 .heic\n  class 'dog' loses 1 "),
            HasSubstr(", and keeps 1\n  convert them to PNG, "), HasSubstr("on_error = \"skip\"")));
  config_.on_error = "skip";
  testing::internal::CaptureStderr();
  EXPECT_THAT(names_of(Dataset::open(config_)), ElementsAre("cat/1.png", "dog/1.png"));
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              AllOf(HasSubstr("warning: " + config_.path.string() + ": left out images of kinds "),
                    HasSubstr("ignored 1 entry: 1 .db\n")));
  config_.on_error = "fail";
  fs::remove_all(config_.path / "dog");
  for (int i = 0; i < 7; ++i) {
    write_text(config_.path / ("dog" + std::to_string(i)) / "1.gif", "GIF89a");
  }
  EXPECT_THAT(refusal(), AllOf(HasSubstr("not named so: 7 .gif\n  class 'dog0' loses 1 .gif, and "
                                         "keeps 0\n  class 'dog1'"),
                               HasSubstr("class 'dog4' loses 1 .gif, and keeps 0\n  and 2 more "
                                         "classes\n")));
}

TEST_F(DatasetTest, ReadsTheNamesOfImageFolder) {
  write_png(root_ / "a.png");
  // torchvision's IMG_EXTENSIONS, and other names of the same kinds.
  for (const char* extension : {"jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp",
                                "jfif", "JPE", "PBM", "pnm", "Png"}) {
    fs::create_directories(config_.path / extension);
    fs::copy_file(root_ / "a.png", config_.path / extension / ("1." + std::string(extension)));
  }
  const Dataset data = Dataset::open(config_);
  EXPECT_EQ(data.size(), 14);
  EXPECT_EQ(data.classes().size(), 14U);
  for (std::int32_t i = 0; i < data.size(); ++i) EXPECT_EQ(loaded(data, i)[0], 7.0F / 255.0F);
}

TEST_F(DatasetTest, TakesTheOrderOfAClassList) {
  write_png(config_.path / "cat" / "1.png");
  write_png(config_.path / "ant" / "1.png");
  config_.classes = root_ / "classes.txt";
  write_text(config_.classes,
             "\xEF\xBB\xBF"
             "cat\r\n  dog with space \nant\n\n");
  const Dataset data = Dataset::open(config_);
  EXPECT_THAT(data.classes(), ElementsAre("cat", "dog with space", "ant"));
  EXPECT_THAT(names_of(data), ElementsAre("cat/1.png", "ant/1.png"));
  EXPECT_THAT(labels_of(data), ElementsAre(0, 2));
}

TEST_F(DatasetTest, RefusesBadClassLists) {
  write_png(config_.path / "catfish" / "1.png");
  config_.classes = root_ / "classes.txt";
  EXPECT_THAT(refusal(), HasSubstr("classes.txt"));
  write_text(config_.classes, "dog\ncatfsh\n");
  EXPECT_THAT(refusal(), AllOf(StartsWith((config_.path / "catfish").string() +
                                          ": the folder is not a class of "),
                               EndsWith("did you mean 'catfsh'?")));
  write_text(config_.classes, "\n \n");
  EXPECT_THAT(refusal(), HasSubstr("the class list is empty"));
  write_text(config_.classes, "catfish\n\ndog\n");
  EXPECT_THAT(refusal(), HasSubstr("classes.txt:2: empty line"));
  write_text(config_.classes, "catfish\ndog\ncatfish\n");
  EXPECT_THAT(refusal(), HasSubstr("classes.txt:3: class 'catfish' is in the list twice"));
  write_text(config_.classes, "catfish\n\xff\n");
  EXPECT_THAT(refusal(), HasSubstr("classes.txt:2: the class name is not plain UTF-8"));
}

TEST_F(DatasetTest, RefusesFoldersWithoutImages) {
  EXPECT_THAT(refusal(), HasSubstr("holds no class folders; put the images"));
  write_png(config_.path / "stray.png");
  EXPECT_THAT(refusal(), HasSubstr("holds no class folders"));
  fs::create_directories(config_.path / "empty");
  write_text(config_.path / "text" / "a.txt", "x");
  EXPECT_THAT(refusal(), HasSubstr("data/text: holds no image, but 1 .txt; files of images are"));
  fs::remove_all(config_.path / "text");
  EXPECT_THAT(refusal(), HasSubstr("holds no images (.jpg, .png, "));
  config_.path = root_ / "nowhere";
  EXPECT_THAT(refusal(), HasSubstr("nowhere: there is no such file or folder"));
}

TEST_F(DatasetTest, FindsFoldersByTheIdsOfAClassList) {
  for (const char* name : {"n01440764/a.png", "n01443537/b.png", "n03126707/c.png"}) {
    write_png(config_.path / name);
  }
  config_.classes = root_ / "imagenet_class_index.json";
  write_text(config_.classes, R"({"1": ["n01443537", "goldfish"], "0": ["n01440764", "tench"],
      "2": ["n02012849", "crane"], "3": ["n03126707", "crane"]})");
  const Dataset data = Dataset::open(config_);
  EXPECT_THAT(data.classes(), ElementsAre("tench", "goldfish", "crane", "crane"));
  EXPECT_THAT(labels_of(data), ElementsAre(0, 1, 3));
  EXPECT_THAT(data.class_ids()[1], "n01443537");
  write_png(config_.path / "crane" / "d.png");
  EXPECT_THAT(refusal(), HasSubstr("data/crane: several classes of "));
  fs::remove_all(config_.path / "crane");
  write_png(config_.path / "tench" / "d.png");
  EXPECT_THAT(refusal(), HasSubstr("data/tench: is the folder of a class that has another"));
}

/// The message of a model that answers `outputs` logits and records these names, or what is warned.
std::string checked(const DataConfig& config, std::int64_t outputs,
                    const std::vector<std::string>& recorded = {}) {
  const Dataset data = Dataset::open(config);
  testing::internal::CaptureStderr();
  std::string message;
  try {
    check_classes(data, config, "m.pt", outputs, recorded);
  } catch (const Error& error) {
    message = error.what();
  }
  return testing::internal::GetCapturedStderr() + message;
}

// Folder 10 became output 2.
TEST_F(DatasetTest, WarnsWherePeopleCountInAnotherOrder) {
  for (int i = 1; i <= 11; ++i) write_png(config_.path / std::to_string(i) / "a.png");
  EXPECT_THAT(checked(config_, 11),
              HasSubstr("data: classes are taken in text order ('1', '10', '11', ...), so output 1 "
                        "is '10'; in natural order ('1', '2', '3', ...) it is '2'\n  "));
  config_.classes = root_ / "names.json";
  write_text(config_.classes, R"(["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"])");
  EXPECT_EQ(checked(config_, 11), "");
  EXPECT_EQ(Dataset::open(config_).label(1), 1);
  config_.classes.clear();
  EXPECT_EQ(checked(config_, 11, {"1", "10", "11", "2", "3", "4", "5", "6", "7", "8", "9"}), "");
  EXPECT_THAT(checked(config_, 11, {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"}),
              HasSubstr("class 1 is '10', but output 1 of m.pt is '2' (recorded in the model)"));
  for (int i = 10; i <= 11; ++i) fs::remove_all(config_.path / std::to_string(i));
  EXPECT_EQ(checked(config_, 9), "");
}

TEST_F(DatasetTest, ComparesClassesWithTheModels) {
  write_png(config_.path / "n01440764" / "a.png");
  write_png(config_.path / "n01484850" / "a.png");
  config_.classes = root_ / "synset_words.txt";
  write_text(config_.classes, "n01440764 tench, Tinca tinca\nn01484850 great_white_shark\n");
  EXPECT_EQ(checked(config_, 2, {"tench", "great white shark"}), "");
  EXPECT_EQ(checked(config_, 2, {"n01440764", "n01484850"}), "");
  EXPECT_THAT(checked(config_, 2, {"tench", "tiger shark"}),
              HasSubstr("class 1 is 'great_white_shark', but output 1 of m.pt is 'tiger shark'"));
  EXPECT_THAT(checked(config_, 3),
              HasSubstr("has 2 classes, but the model m.pt answers 3\n  give"));
}

TEST_F(DatasetTest, KeepsTheNumberOfAnEmptyClass) {
  fs::create_directories(config_.path / "b");
  write_png(config_.path / "a" / "1.png");
  write_png(config_.path / "c" / "1.png");
  const Dataset data = Dataset::open(config_);
  EXPECT_THAT(data.classes(), ElementsAre("a", "b", "c"));
  EXPECT_THAT(labels_of(data), ElementsAre(0, 2));
}

TEST_F(DatasetTest, FollowsLinksButNotForEver) {
  write_png(root_ / "elsewhere" / "1.png");
  write_png(config_.path / "a" / "sub" / "2.png");
  fs::create_symlink(root_ / "elsewhere" / "1.png", config_.path / "a" / "linked.png");
  fs::create_directory_symlink(root_ / "elsewhere", config_.path / "b");
  fs::create_directory_symlink(config_.path, config_.path / "a" / "sub" / "loop");
  fs::create_directory_symlink(config_.path / "a", config_.path / "a" / "again");
  fs::create_directory_symlink(".", config_.path / "self");
  const Dataset data = Dataset::open(config_);
  EXPECT_THAT(data.classes(), ElementsAre("a", "b", "self"));
  EXPECT_THAT(names_of(data), ElementsAre("a/linked.png", "b/1.png", "a/sub/2.png"));
}

TEST_F(DatasetTest, FailsOrSkipsOnBrokenImages) {
  write_png(config_.path / "a" / "1.png");
  write_text(config_.path / "a" / "2.png", "this is text");
  write_text(config_.path / "a" / "3.jpg", "");
  write_png(config_.path / "a" / "4.png", 9);
  write_png(config_.path / "b" / "1.png");
  fs::create_symlink("nowhere", config_.path / "b" / "0.jpeg");
  const Dataset strict = Dataset::open(config_);
  ASSERT_EQ(strict.size(), 6);
  EXPECT_THAT(error_of([&] { loaded(strict, strict.find("a/2.png")); }),
              EndsWith("a/2.png: is not a JPEG, PNG, BMP, PNM, TIFF or WebP image"));
  EXPECT_THAT(error_of([&] { loaded(strict, strict.find("b/0.jpeg")); }),
              EndsWith("b/0.jpeg: there is no such file"));
  EXPECT_TRUE(strict.skipped().empty());
  config_.on_error = "skip";
  const Dataset lenient = Dataset::open(config_);
  EXPECT_THAT(names_of(lenient), ElementsAre("a/1.png", "b/1.png", "a/4.png"));
  EXPECT_THAT(lenient.skipped(),
              ElementsAre("b/0.jpeg: there is no such file",
                          "a/2.png: is not a JPEG, PNG, BMP, PNM, TIFF or WebP image",
                          "a/3.jpg: the file is empty"));
  EXPECT_EQ(loaded(lenient, 2)[0], 9.0F / 255.0F);
  EXPECT_THAT(error_of([&] { strict.digest(); }), EndsWith("b/0.jpeg: there is no such file"));
}

// They were decoded twice: to see whether they are broken, and again to be used.
TEST_F(DatasetTest, ImagesThatWereLookedAtAreNotDecodedAgain) {
  write_png(config_.path / "a" / "1.png", 50);
  write_png(config_.path / "a" / "2.png", 100);
  config_.on_error = "skip";
  const Dataset data = Dataset::open(config_);
  fs::remove(config_.path / "a" / "1.png");
  fs::remove(config_.path / "a" / "2.png");
  EXPECT_EQ(loaded(data, 1)[0], 100.0F / 255.0F);
  EXPECT_EQ(loaded(data, 0)[0], 50.0F / 255.0F);
  EXPECT_THAT(error_of([&] { loaded(data, 0); }), EndsWith("a/1.png: there is no such file"));
}

TEST_F(DatasetTest, NamesTheFirstImageWhenItIsBroken) {
  write_text(config_.path / "a" / "1.png", "this is text");
  EXPECT_THAT(refusal(), EndsWith("a/1.png: is not a JPEG, PNG, BMP, PNM, TIFF or WebP image"));
  config_.on_error = "skip";
  EXPECT_THAT(refusal(),
              AllOf(HasSubstr("every image is broken"), HasSubstr("a/1.png: is not a JPEG")));
}

TEST_F(DatasetTest, RefusesImagesOfAnotherShape) {
  write_png(config_.path / "a" / "1.png", 1, 4, 3);
  write_png(config_.path / "a" / "2.png", 1, 4, 5);
  const Dataset data = Dataset::open(config_);
  EXPECT_THAT(data.shape(), ElementsAre(3, 3, 4));
  std::vector<float> out(36);
  EXPECT_THAT(error_of([&] { data.load(1, out); }),
              HasSubstr("a/2.png: gives an input of 5 x 4 pixels (height x width), the first image "
                        "one of 3 x 4; set data.preprocess.resize and crop"));
  EXPECT_THROW(data.load(0, std::span<float>(out).first(35)), std::invalid_argument);
  config_.on_error = "skip";
  EXPECT_THAT(refusal(), HasSubstr("a/2.png: gives an input of 5 x 4"));
  config_.preprocess.crop = 2;
  EXPECT_EQ(Dataset::open(config_).size(), 2);
}

TEST_F(DatasetTest, RefusesNamesThatAreNoText) {
  write_png(config_.path / "a" / "1.png");
  write_png(config_.path / "a" / "bad\xff.png");
  write_png(config_.path / "a" / "new\nline.png");
  write_png(config_.path / "a" / "gr\xC3\xBC\xC3\x9F \xF0\x9F\x90\xB1, \"quoted\".png");
  EXPECT_THAT(refusal(), HasSubstr("a/bad\\xff.png: the file name is not plain UTF-8 text"));
  config_.on_error = "skip";
  const Dataset data = Dataset::open(config_);
  EXPECT_THAT(names_of(data),
              ElementsAre("a/1.png", "a/gr\xC3\xBC\xC3\x9F \xF0\x9F\x90\xB1, \"quoted\".png"));
  EXPECT_THAT(data.skipped(),
              ElementsAre(StartsWith("a/bad\\xff.png: "), StartsWith("a/new\\x0aline.png: ")));
  write_png(config_.path / "b\xC0\x80" / "1.png");
  EXPECT_THAT(refusal(), HasSubstr("the folder name 'b\\xc0\\x80' is not plain UTF-8 text"));
}

TEST_F(DatasetTest, HasADigestOfNamesLabelsAndContents) {
  write_png(config_.path / "a" / "1.png");
  write_png(config_.path / "b" / "1.png");
  const std::string digest = Dataset::open(config_).digest();
  EXPECT_THAT(digest, testing::MatchesRegex("[0-9a-f]{64}"));
  EXPECT_EQ(Dataset::open(config_).digest(), digest);
  std::set<std::string> digests = {digest};
  std::ofstream(config_.path / "a" / "1.png", std::ios::app) << "x";
  digests.insert(Dataset::open(config_).digest());
  fs::rename(config_.path / "a" / "1.png", config_.path / "a" / "2.png");
  digests.insert(Dataset::open(config_).digest());
  config_.classes = root_ / "classes.txt";
  write_text(config_.classes, "b\na\n");
  digests.insert(Dataset::open(config_).digest());
  EXPECT_EQ(digests.size(), 4U);
}

// Files of one size that change places are other data.
TEST_F(DatasetTest, SeesImagesThatChangePlaces) {
  write_png(config_.path / "a" / "1.png", 10);
  write_png(config_.path / "b" / "1.png", 20);
  ASSERT_EQ(fs::file_size(config_.path / "a" / "1.png"),
            fs::file_size(config_.path / "b" / "1.png"));
  const std::string digest = Dataset::open(config_).digest();
  fs::rename(config_.path / "a" / "1.png", config_.path / "2.png");
  fs::rename(config_.path / "b" / "1.png", config_.path / "a" / "1.png");
  fs::rename(config_.path / "2.png", config_.path / "b" / "1.png");
  EXPECT_NE(Dataset::open(config_).digest(), digest);
}

TEST_F(DatasetTest, HashesNoMoreThanItUsesAndSaysWhatItCannotRead) {
  for (int i = 0; i < 40; ++i) write_png(config_.path / "a" / (std::to_string(10 + i) + ".png"), i);
  write_png(config_.path / "b" / "1.png");
  config_.limit = 12;
  const std::string digest = Dataset::open(config_).digest();
  std::ofstream(config_.path / "a" / "49.png", std::ios::app) << "x";  // beyond the limit
  EXPECT_EQ(Dataset::open(config_).digest(), digest);
  const Dataset data = Dataset::open(config_);
  fs::remove(config_.path / "a" / "12.png");
  EXPECT_THAT(error_of([&] { data.digest(); }), EndsWith("a/12.png: there is no such file"));
}

TEST_F(DatasetTest, LoadsFromSeveralThreads) {
  for (int i = 0; i < 8; ++i) write_png(config_.path / "a" / (std::to_string(i) + ".png"), i * 20);
  const Dataset data = Dataset::open(config_);
  std::vector<std::thread> threads;
  std::array<bool, 4> right{};
  for (std::size_t t = 0; t < right.size(); ++t) {
    threads.emplace_back([&data, &right, t] {
      right[t] = true;
      for (int round = 0; round < 50; ++round) {
        for (std::int32_t i = 0; i < data.size(); ++i) {
          right[t] = right[t] && loaded(data, i)[5] == static_cast<float>(i * 20) / 255.0F;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(right, testing::Each(true));
}

// Arrays ------------------------------------------------------------------------------------------

std::vector<std::uint8_t> counting(int count) {
  std::vector<std::uint8_t> values;
  for (int i = 0; i < count; ++i) values.push_back(static_cast<std::uint8_t>(i));
  return values;
}

TEST_F(DatasetTest, ReadsFloatArraysAsTheyAre) {
  use_array({2, 0});
  std::vector<float> values;
  for (int i = 0; i < 24; ++i) values.push_back(static_cast<float>(i) / 7 - 1);
  write_npy(config_.path, "<f4", "(2, 2, 2, 3)", values);
  const Dataset data = Dataset::open(config_);
  EXPECT_THAT(data.shape(), ElementsAre(2, 2, 3));
  EXPECT_THAT(data.classes(), ElementsAre("0", "1", "2"));
  EXPECT_THAT(names_of(data), ElementsAre("0", "1"));
  EXPECT_THAT(labels_of(data), ElementsAre(2, 0));
  EXPECT_EQ(data.find("1"), 1);
  EXPECT_EQ(loaded(data, 1), std::vector<float>(values.begin() + 12, values.end()));
  config_.preprocess.scale = 2;
  config_.preprocess.mean = {0.5, 0.25};
  config_.preprocess.std = {2, 3};
  const std::vector<float> scaled = loaded(Dataset::open(config_), 1);
  EXPECT_EQ(scaled[0], (values[12] * 2.0F - 0.5F) / 2.0F);
  EXPECT_EQ(scaled[11], (values[23] * 2.0F - 0.25F) / 3.0F);
}

TEST_F(DatasetTest, ReadsByteArraysLikeImages) {
  use_array({0, 1});
  const std::vector<std::uint8_t> values = counting(2 * 2 * 4 * 3);
  write_npy(config_.path, "|u1", "(2, 2, 4, 3)", values);
  const Dataset last = Dataset::open(config_);
  EXPECT_THAT(last.shape(), ElementsAre(3, 2, 4));
  const std::vector<float> image = loaded(last, 1);
  for (std::size_t i = 0; i < 24; ++i) {
    EXPECT_EQ(image[i % 3 * 8 + i / 3], static_cast<float>(24 + i) / 255.0F);
  }
  std::vector<std::uint8_t> planes(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    planes[i / 24 * 24 + i % 24 % 3 * 8 + i % 24 / 3] = values[i];
  }
  write_npy(config_.path, "|u1", "(2, 3, 2, 4)", planes);
  EXPECT_EQ(loaded(Dataset::open(config_), 1), image);
  config_.preprocess.resize = 4;
  config_.preprocess.crop = 3;
  EXPECT_THAT(Dataset::open(config_).shape(), ElementsAre(3, 3, 3));
  const std::vector<float> cropped = loaded(Dataset::open(config_), 1);
  write_npy(config_.path, "|u1", "(2, 2, 4, 3)", values);
  EXPECT_EQ(loaded(Dataset::open(config_), 1), cropped);
}

TEST_F(DatasetTest, ConvertsTheColourOfByteArrays) {
  use_array({0});
  write_npy(config_.path, "|u1", "(1, 2, 2)", counting(4));
  EXPECT_THAT(loaded(Dataset::open(config_), 0).size(), 12U);
  config_.preprocess.colour = "grey";
  EXPECT_THAT(loaded(Dataset::open(config_), 0),
              ElementsAre(0.0F, 1.0F / 255.0F, 2.0F / 255.0F, 3.0F / 255.0F));
  write_npy(config_.path, "|u1", "(1, 1, 1, 3)", std::vector<std::uint8_t>{255, 0, 0});
  // 255 * 19595 / 65536 + 0.5 = 76.7
  EXPECT_THAT(loaded(Dataset::open(config_), 0), ElementsAre(76.0F / 255.0F));
}

TEST_F(DatasetTest, LimitsRowsInTheirOrder) {
  use_array({1, 1, 0});
  write_npy(config_.path, "|u1", "(3, 1, 1, 3)", counting(9));
  config_.limit = 2;
  const Dataset data = Dataset::open(config_);
  EXPECT_THAT(names_of(data), ElementsAre("0", "1"));
  EXPECT_THAT(data.classes(), ElementsAre("0", "1"));
}

TEST_F(DatasetTest, RefusesBadArrays) {
  use_array({0, 0});
  const auto of = [this](const std::string& descr, const std::string& shape) {
    write_npy(config_.path, descr, shape, counting(96));
    const std::string message = refusal();
    EXPECT_THAT(message, StartsWith(config_.path.string() + ": "));
    return message;
  };
  EXPECT_THAT(
      of("<f4", "(2, 12)"),
      HasSubstr("float32 images must be [N, C, H, W]; this array is [2, 12] "
                "(save array.reshape(2, 1, 1, 12); a network that takes no such images: let "
                "it begin with x = x.reshape(-1, 12))"));
  EXPECT_THAT(of("<f4", "(2, 3, 4)"), HasSubstr("array.reshape(2, 1, 3, 4); "));
  EXPECT_THAT(of("<f4", "(2, 3, 2, 1, 2)"), HasSubstr("array.reshape(2, 3, 2, 2); "));
  EXPECT_THAT(of("|u1", "(2, 2, 2, 2)"),
              HasSubstr("with 1 or 3 channels; this array is [2, 2, 2, 2]"));
  EXPECT_THAT(of("<f8", "(2, 3, 1, 1)"),
              HasSubstr("must be float32 or uint8; this array is float64"));
  EXPECT_THAT(of("<i4", "(2, 3, 1, 1)"), HasSubstr("this array is int32"));
  EXPECT_THAT(of("|u1", "(0, 2, 2, 3)"), HasSubstr("holds no images"));
  EXPECT_THAT(of("|u1", "(2, 0, 2, 3)"), HasSubstr("empty or too large"));
  EXPECT_THAT(of("|u1", "(2, 100, 100, 3)"), HasSubstr("truncated"));
  write_text(config_.path, "text");
  EXPECT_THAT(refusal(), HasSubstr("is not a .npy file"));
  write_npy(config_.path, "<f4", "(2, 3, 1, 1)", counting(24));
  config_.preprocess.crop = 1;
  EXPECT_THAT(refusal(), HasSubstr("resize and crop are for 8-bit images"));
  config_.preprocess.crop.reset();
  config_.preprocess.colour = "grey";
  EXPECT_THAT(refusal(), HasSubstr("this float32 array has 3 channels"));
}

// Keras gives [N, 1]; MATLAB [1, N] of floats.
TEST_F(DatasetTest, ReadsLabelsOfOtherShapesAndTypes) {
  use_array({});
  write_npy(config_.path, "|u1", "(3, 1, 1, 3)", counting(9));
  const auto labels = [this] { return labels_of(Dataset::open(config_)); };
  for (const char* shape : {"(3, 1)", "(1, 3)", "(3, 1, 1)"}) {
    write_npy(config_.labels, "|u1", shape, std::vector<std::uint8_t>{2, 0, 1});
    EXPECT_THAT(labels(), ElementsAre(2, 0, 1)) << shape;
  }
  write_npy(config_.labels, "<i4", "(3, 1)", std::vector<std::int32_t>{2, 0, 1});
  EXPECT_THAT(labels(), ElementsAre(2, 0, 1));
  write_npy(config_.labels, "<f4", "(3,)", std::vector<float>{2, 0, 1});
  EXPECT_THAT(labels(), ElementsAre(2, 0, 1));
  write_npy(config_.labels, "<f8", "(1, 3)", std::vector<double>{2, 0, 1});
  EXPECT_THAT(labels(), ElementsAre(2, 0, 1));
  for (const float value : {0.5F, NAN, INFINITY, 1e20F}) {
    write_npy(config_.labels, "<f4", "(3,)", std::vector<float>{2, value, 1});
    EXPECT_THAT(refusal(), HasSubstr("labels.npy: the label of row 1 is ")) << value;
  }
  write_npy(config_.labels, "|u1", "(3, 2)", std::vector<std::uint8_t>{1, 0, 0, 1, 1, 0});
  EXPECT_THAT(refusal(), HasSubstr("labels must be [3], one per image; this array is [3, 2]; where "
                                   "each row has one number per class, save array.argmax(1)"));
}

TEST_F(DatasetTest, HintsAtLabelsThatCountFromOne) {
  use_array({1, 2, 3});
  write_npy(config_.path, "|u1", "(3, 1, 1, 3)", counting(9));
  EXPECT_THAT(checked(config_, 3), HasSubstr("these seem to count from 1: subtract 1"));
  EXPECT_EQ(checked(config_, 4), "");
  config_.classes = root_ / "classes.txt";
  write_text(config_.classes, "a\nb\nc\n");
  EXPECT_THAT(refusal(), HasSubstr("labels must be from 0 to 2, and these seem to count from 1"));
}

TEST_F(DatasetTest, RefusesBadLabels) {
  use_array({0, 3});
  write_npy(config_.path, "|u1", "(2, 1, 1, 3)", counting(6));
  config_.classes = root_ / "classes.txt";
  write_text(config_.classes, "a\nb\nc\n");
  EXPECT_THAT(refusal(), AllOf(StartsWith(config_.labels.string()),
                               HasSubstr("the label of row 1 is 3; labels must be from 0 to 2")));
  use_array({-1, 0});
  EXPECT_THAT(refusal(), HasSubstr("the label of row 0 is -1"));
  use_array({0, 1, 2});
  EXPECT_THAT(refusal(), HasSubstr("labels must be [2], one per image; this array is [3]"));
  config_.classes.clear();
  use_array({0, 4'000'000'000});
  EXPECT_THAT(refusal(), HasSubstr("labels must be from 0 to 999999"));
  config_.labels.clear();
  EXPECT_THAT(refusal(), HasSubstr("data.labels is needed"));
  config_.path = root_ / "data";
  write_png(config_.path / "a" / "1.png");
  config_.labels = root_ / "labels.npy";
  EXPECT_THAT(refusal(), HasSubstr("data.labels goes with images in a .npy file"));
}

}  // namespace
}  // namespace bitfall::dataset_test
