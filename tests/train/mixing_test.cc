#include "mixing.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <sstream>

#include "philox.h"
#include "python_oracle.h"
#include "text_file.h"

namespace bitfall::mixing_test {
namespace {

namespace fs = std::filesystem;

const fs::path& vectors() {
  static const fs::path folder = folder_made_by("make_mixing_vectors.py");
  return folder;
}

std::string content(const std::string& name) { return read_text(vectors() / name); }

std::vector<float> floats(const std::string& name) {
  const std::string bytes = content(name);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

constexpr std::array<std::int64_t, 3> kShape = {3, 6, 8};

TEST(RandomCrop, ResizesABoxAsTorchvisionDoes) {
  if (!has_python("torchvision"))
    GTEST_SKIP() << "no Python with torchvision at " << BITFALL_PYTHON;
  const std::string pixels = content("picture.raw");
  Image picture{53, 37, 3, {pixels.begin(), pixels.end()}};
  const PixelBox boxes[] = {
      {0, 0, 37, 53}, {3, 7, 20, 24}, {10, 11, 9, 5}, {30, 40, 7, 13}, {5, 0, 1, 53}};
  for (std::size_t i = 0; i < std::size(boxes); ++i) {
    for (const auto& [filter, name] : {std::pair{Interpolation::kBilinear, "bilinear"},
                                       std::pair{Interpolation::kBicubic, "bicubic"}}) {
      const Image made = resized_crop(picture, boxes[i], 20, 24, filter);
      const std::string expected = content("crop_" + std::to_string(i) + "_" + name + ".raw");
      EXPECT_EQ(std::string(made.pixels.begin(), made.pixels.end()), expected) << i << name;
    }
  }
}

/// Gives the words that the oracle took.
class GivenWords final : public RandomStream {
 public:
  GivenWords(const std::string& words, std::size_t at) : words_(words), at_(at) {}
  std::uint32_t next() override {
    std::uint32_t word = 0;
    std::memcpy(&word, words_.data() + 4 * at_++, sizeof word);
    return word;
  }

 private:
  const std::string& words_;
  std::size_t at_;
};

TEST(Boxes, AreThoseThatTorchvisionDraws) {
  if (!has_python("torchvision"))
    GTEST_SKIP() << "no Python with torchvision at " << BITFALL_PYTHON;
  const std::string words = content("words.raw");
  std::istringstream lines(content("boxes.txt"));
  std::string kind;
  PixelBox expected;
  int compared = 0, none = 0;
  std::size_t first = 0;
  for (std::int64_t height = 0, width = 0;
       lines >> kind >> height >> width >> first >> expected.top >> expected.left >>
       expected.height >> expected.width;
       ++compared) {
    GivenWords random(words, first);
    std::optional<PixelBox> box;
    if (kind == "crop") {
      box = draw_crop(random, height, width, {0.08, 1}, {3.0 / 4, 4.0 / 3});
    } else {
      box = draw_erased(random, height, width);
    }
    SCOPED_TRACE(kind + std::to_string(height) + " x " + std::to_string(width) + ", word " +
                 std::to_string(first));
    ASSERT_EQ(box.has_value(), expected.height >= 0);
    none += !box;
    if (!box) continue;
    EXPECT_EQ(box->top, expected.top);
    EXPECT_EQ(box->left, expected.left);
    EXPECT_EQ(box->height, expected.height);
    EXPECT_EQ(box->width, expected.width);
  }
  EXPECT_EQ(compared, 750);
  EXPECT_LT(none, 20);
}

TEST(RandomCrop, DrawsAreasAndRatiosEvenly) {
  PhiloxStream random(1, RandomDomain::kCrop, 0);
  double area = 0, log_ratio = 0, top = 0;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    const PixelBox box = draw_crop(random, 400, 400, {0.1, 0.5}, {0.5, 2});
    ASSERT_TRUE(box.top >= 0 && box.left >= 0 && box.top + box.height <= 400 &&
                box.left + box.width <= 400);
    area += static_cast<double>(box.width * box.height) / 160000 / kDraws;
    log_ratio +=
        std::log(static_cast<double>(box.width) / static_cast<double>(box.height)) / kDraws;
    top += static_cast<double>(box.top) / static_cast<double>(401 - box.height) / kDraws;
  }
  EXPECT_NEAR(area, 0.3, 5 * 0.4 / std::sqrt(12.0 * kDraws));
  EXPECT_NEAR(log_ratio, 0, 5 * std::log(4.0) / std::sqrt(12.0 * kDraws));
  EXPECT_NEAR(top, 0.5, 5 / std::sqrt(12.0 * kDraws) + 0.005);
}

TEST(RandomCrop, TakesTheMiddleWhereNoBoxFits) {
  PhiloxStream random(1, RandomDomain::kCrop, 0);
  // As torchvision: a picture that is far too wide is cut to the widest ratio.
  const PixelBox box = draw_crop(random, 10, 400, {1, 1}, {0.75, 4.0 / 3});
  EXPECT_EQ(box.height, 10);
  EXPECT_EQ(box.width, 13);
  EXPECT_EQ(box.left, (400 - 13) / 2);
  const PixelBox tall = draw_crop(random, 400, 9, {1, 1}, {0.75, 4.0 / 3});
  EXPECT_EQ(tall.width, 9);
  EXPECT_EQ(tall.height, 12);
}

TEST(Mixing, IsTorchvisionsMixUp) {
  if (!has_python("torchvision"))
    GTEST_SKIP() << "no Python with torchvision at " << BITFALL_PYTHON;
  std::vector<float> values = floats("batch.raw");
  mix(values, kShape, {0.3, std::nullopt});
  const std::vector<float> expected = floats("mixup.raw");
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], 1e-6);
}

TEST(Mixing, IsTorchvisionsCutMix) {
  if (!has_python("torchvision"))
    GTEST_SKIP() << "no Python with torchvision at " << BITFALL_PYTHON;
  for (int i = 0; i < 3; ++i) {
    std::istringstream told(content("cutmix_" + std::to_string(i) + ".txt"));
    std::int64_t y = 0, x = 0;
    double share = 0;
    told >> y >> x >> share;
    const Mix how = cut_mix(static_cast<double>(0.4F), y, x, kShape[1], kShape[2]);
    EXPECT_NEAR(how.share, share, 1e-6);
    std::vector<float> values = floats("batch.raw");
    mix(values, kShape, how);
    EXPECT_EQ(values, floats("cutmix_" + std::to_string(i) + ".raw")) << i;
  }
}

TEST(Mixing, DrawsSharesFromBeta) {
  for (const double alpha : {0.2, 0.8, 1.0, 2.0}) {
    PhiloxStream random(3, RandomDomain::kMix, 0);
    double mean = 0, square = 0;
    constexpr int kDraws = 4000;
    for (int i = 0; i < kDraws; ++i) {
      const double share = draw_beta(random, alpha);
      mean += share / kDraws;
      square += share * share / kDraws;
    }
    const double variance = 1 / (4 * (2 * alpha + 1));  // of Beta(a, a)
    EXPECT_NEAR(mean, 0.5, 5 * std::sqrt(variance / kDraws)) << alpha;
    EXPECT_NEAR(square - mean * mean, variance, 0.1 * variance) << alpha;
  }
  AugmentationConfig both;
  both.mixup = 0.2;
  both.cutmix = 1;
  int cut = 0;
  for (std::uint64_t step = 0; step < 1000; ++step) {
    PhiloxStream random(3, RandomDomain::kMix, step);
    cut += draw_mix(random, both, 8, 8)->box.has_value();
  }
  EXPECT_NEAR(cut, 500, 5 * std::sqrt(250.0));
  PhiloxStream random(3, RandomDomain::kMix, 0);
  EXPECT_FALSE(draw_mix(random, {}, 8, 8).has_value());
}

TEST(Erasing, ClearsTheBoxThatTorchvisionClears) {
  if (!has_python("torchvision"))
    GTEST_SKIP() << "no Python with torchvision at " << BITFALL_PYTHON;
  std::vector<float> values = floats("batch.raw");
  values.resize(3 * 6 * 8);
  erase(values, kShape, {1, 2, 3, 4});
  EXPECT_EQ(values, floats("erased.raw"));
  PhiloxStream random(9, RandomDomain::kErase, 0);
  double area = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto box = draw_erased(random, 200, 200);
    ASSERT_TRUE(box && box->top >= 0 && box->left >= 0 && box->top + box->height <= 200 &&
                box->left + box->width <= 200);
    area += static_cast<double>(box->width * box->height) / 40000 / 2000;
  }
  EXPECT_NEAR(area, (0.02 + 0.33) / 2, 0.02);
}

}  // namespace
}  // namespace bitfall::mixing_test
