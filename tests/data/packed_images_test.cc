#include "packed_images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "dataset.h"
#include "error.h"
#include "python_oracle.h"
#include "text_file.h"

namespace bitfall::packed_images_test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path& sets() {
  static const fs::path folder = folder_made_by("make_packed_sets.py");
  return folder;
}

struct Set {
  const char* name;
  const char* folder;
  int classes;
};
constexpr Set kSets[] = {{"cifar10_bin", "", 10},
                         {"cifar10_py", "cifar-10-batches-py", 10},
                         {"cifar100_bin", "", 100},
                         {"cifar100_py", "cifar-100-python", 100},
                         {"stl10", "stl10_binary", 10}};

TEST(PackedImages, AreThoseThatTorchvisionReads) {
  for (const Set& set : kSets) {
    for (const std::string split : {"train", "test"}) {
      SCOPED_TRACE(std::string(set.name) + " " + split);
      const auto images = PackedImages::open(sets() / set.name / set.folder, split);
      ASSERT_TRUE(images.has_value());
      EXPECT_EQ(images->classes().size(), static_cast<std::size_t>(set.classes));
      std::istringstream labels(read_text(sets() / (std::string(set.name) + "_" + split + ".txt")));
      const std::string pixels = read_text(sets() / (std::string(set.name) + "_" + split + ".raw"));
      ASSERT_EQ(pixels.size(), images->image_bytes() * static_cast<std::size_t>(images->size()));
      for (std::int32_t row = 0; row < images->size(); ++row) {
        int label = -1;
        labels >> label;
        EXPECT_EQ(images->label(row), label);
        const Image image = images->read(row);
        const auto begin = static_cast<std::size_t>(row) * images->image_bytes();
        EXPECT_TRUE(
            std::equal(image.pixels.begin(), image.pixels.end(),
                       pixels.begin() + static_cast<std::ptrdiff_t>(begin),
                       [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); }))
            << "row " << row;
      }
    }
  }
}

TEST(PackedImages, AreADatasetOfClassesAndLabels) {
  DataConfig config;
  config.path = sets() / "cifar10_bin";
  config.limit = 7;
  const Dataset data = Dataset::open(config);
  EXPECT_EQ(data.size(), 7);
  EXPECT_EQ(data.classes()[3], "cat");
  EXPECT_EQ(data.name(5), "test_batch.bin/5");
  EXPECT_EQ(data.shape(), (std::array<std::int64_t, 3>{3, 32, 32}));
  std::vector<float> values(3 * 32 * 32);
  data.load(2, values);
  const std::string pixels = read_text(sets() / "cifar10_bin_test.raw");
  for (std::size_t c = 0; c < 3; ++c) {
    const auto byte = static_cast<std::uint8_t>(pixels[2 * 3072 + c]);
    EXPECT_EQ(values[c * 1024], static_cast<float>(byte) / 255.0F);
  }
  config.split = "train";
  config.limit = 0;
  const Dataset train = Dataset::open(config);
  EXPECT_EQ(train.size(), 60);
  EXPECT_EQ(train.name(59), "data_batch_5.bin/11");
  EXPECT_NE(train.digest(), data.digest());
}

TEST(PackedImages, AreNotSeenWhereThereAreNone) {
  EXPECT_FALSE(PackedImages::open(sets(), "test").has_value());
  DataConfig config;
  config.path = sets();
  config.split = "test";
  EXPECT_THROW(Dataset::open(config), Error);
}

/// A copy of a set that a test may damage.
fs::path copy_of(const char* name, const char* folder) {
  const fs::path copy = sets() / ("copy_" + std::string(name));
  fs::remove_all(copy);
  fs::copy(sets() / name / folder, copy, fs::copy_options::recursive);
  return copy;
}

void expect_refused(const fs::path& folder, const std::string& file, const std::string& why) {
  try {
    PackedImages::open(folder, "test");
    ADD_FAILURE() << "not refused: " << why;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInput);
    EXPECT_THAT(error.what(), HasSubstr((folder / file).string()));
    EXPECT_THAT(error.what(), HasSubstr(why));
  }
}

void overwrite(const fs::path& file, std::size_t at, char byte) {
  std::string text = read_text(file);
  text.at(at) = byte;
  std::ofstream(file, std::ios::binary) << text;
}

TEST(PackedImages, OfDamagedFilesAreRefusedByName) {
  fs::path folder = copy_of("cifar10_bin", "");
  overwrite(folder / "test_batch.bin", 3073, 10);
  expect_refused(folder, "test_batch.bin", "the label of row 1 is 10");
  fs::resize_file(folder / "test_batch.bin", 5000);
  expect_refused(folder, "test_batch.bin",
                 "5000 bytes, no whole number of CIFAR-10's rows of 3073");
  fs::remove(folder / "test_batch.bin");
  expect_refused(folder, "test_batch.bin", "cannot be read");

  folder = copy_of("stl10", "stl10_binary");
  overwrite(folder / "test_y.bin", 4, 0);
  expect_refused(folder, "test_y.bin", "the label of row 4 is 0");
  fs::resize_file(folder / "test_y.bin", 3);
  expect_refused(folder, "test_y.bin", "holds 3 labels for the 12 images of test_X.bin");

  folder = copy_of("cifar100_py", "cifar-100-python");
  const std::string whole = read_text(folder / "test");
  std::ofstream(folder / "test", std::ios::binary) << whole.substr(0, whole.size() / 2);
  expect_refused(folder, "test", "cut off");
  std::ofstream(folder / "test", std::ios::binary) << "\x80\x02]q\x01.";
  expect_refused(folder, "test", "of no dictionary");
  fs::copy_file(folder / "meta", folder / "test", fs::copy_options::overwrite_existing);
  expect_refused(folder, "test", "has no 'fine_labels'");
  // Any byte of it: refused, or another image, but never a crash.
  for (std::size_t at = 0; at < 400; at += 3) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x11);
    std::ofstream(folder / "test", std::ios::binary) << damaged;
    try {
      const auto images = PackedImages::open(folder, "test");
      if (images) images->read(images->size() - 1);
    } catch (const Error&) {
    }
  }
}

/// Food-101 in its authors' layout, as torchvision reads it.
TEST(SplitLists, AreThoseThatTorchvisionReads) {
  const fs::path folder = sets() / "food" / "food-101";
  DataConfig config;
  config.path = folder;
  for (const std::string split : {"train", "test"}) {
    SCOPED_TRACE(split);
    config.split = split;
    const Dataset dataset = Dataset::open(config);
    std::istringstream expected(read_text(sets() / ("food_" + split + ".txt")));
    std::string name;
    int label = 0, images = 0;
    for (; expected >> name >> label; ++images) {
      const std::int32_t image = dataset.find(name);
      ASSERT_GE(image, 0) << name;
      EXPECT_EQ(dataset.label(image), label) << name;
    }
    EXPECT_EQ(dataset.size(), images);
    EXPECT_EQ(images, split == "train" ? 9 : 3);
    EXPECT_EQ(dataset.classes(),
              (std::vector<std::string>{"apple_pie", "baby_back_ribs", "churros"}));
  }
  config.split.clear();
  EXPECT_EQ(Dataset::open(config).size(), 3);  // of a campaign: those of the test
  config.default_split = "train";
  EXPECT_EQ(Dataset::open(config).size(), 9);
}

TEST(SplitLists, ThatAreDamagedAreRefusedByLine) {
  const fs::path folder = sets() / "food_damaged";
  fs::copy(sets() / "food" / "food-101", folder, fs::copy_options::recursive);
  DataConfig config;
  config.path = folder;
  const auto refusal = [&] {
    try {
      Dataset::open(config);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const fs::path list = folder / "meta" / "test.txt";
  const std::string whole = read_text(list);
  std::ofstream(list) << whole << "churros/77\n";
  EXPECT_THAT(refusal(), HasSubstr("test.txt:4: " + (folder / "images").string() +
                                   " holds no image 'churros/77'"));
  std::ofstream(list) << whole << "chips/1\n";
  EXPECT_THAT(refusal(), HasSubstr("test.txt:4: 'chips' is not a class of"));
  std::ofstream(list) << "";
  EXPECT_THAT(refusal(), HasSubstr("test.txt: the list is empty"));
  fs::remove(list);
  EXPECT_THAT(refusal(), HasSubstr("meta/test.txt: is missing, and the folder holds the rest of"));
  config.list = folder / "meta" / "train.txt";
  config.split = "test";
  EXPECT_THAT(refusal(), HasSubstr("train.txt: data.split chooses among a set's own lists"));
}

}  // namespace
}  // namespace bitfall::packed_images_test
