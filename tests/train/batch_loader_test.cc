// The batches of a training: order, augmentation, threads.
#include "batch_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <set>

#include "campaign_fixture.h"
#include "error.h"
#include "no_threads.h"
#include "refusal.h"

namespace bitfall::batch_loader_test {
namespace {

namespace fs = std::filesystem;

constexpr std::int32_t kImages = 23;
constexpr std::array<std::int64_t, 3> kShape = {2, 4, 5};
constexpr std::int64_t kValues = 2 * 4 * 5;

/// Image i is filled with 1000 i + the pixel's place, not scaled.
Dataset numbered_images() {
  const fs::path folder =
      fs::path(testing::TempDir()) / ("bitfall_batches_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  std::vector<float> values;
  std::vector<std::int64_t> labels;
  for (std::int32_t i = 0; i < kImages; ++i) {
    for (std::int64_t v = 0; v < kValues; ++v) {
      values.push_back(static_cast<float>(1000 * i + v + 1));
    }
    labels.push_back(i % 3);
  }
  const auto bytes = [](const auto& items) {
    return std::string(reinterpret_cast<const char*>(items.data()),
                       items.size() * sizeof(items[0]));
  };
  write_npy(folder / "images.npy", "<f4", "23, 2, 4, 5", bytes(values));
  write_npy(folder / "labels.npy", "<i8", "23,", bytes(labels));
  DataConfig config;
  config.path = folder / "images.npy";
  config.labels = folder / "labels.npy";
  return Dataset::open(config);
}

std::vector<Batch> batches_of(BatchLoader& loader) {
  std::vector<Batch> batches;
  while (auto batch = loader.next()) batches.push_back(std::move(*batch));
  return batches;
}

TEST(BatchOrder, MeetsEveryImageAtMostOnceAnEpochAndShufflesAnew) {
  const BatchOrder order{7, kImages, 5};
  EXPECT_EQ(order.steps_per_epoch(), 4);
  const auto first = order.epoch(0), second = order.epoch(1);
  EXPECT_EQ(std::set<std::int32_t>(first.begin(), first.end()).size(), 23U);
  EXPECT_NE(first, second);
  EXPECT_EQ(first, (BatchOrder{7, kImages, 5}).epoch(0));
  EXPECT_NE(first, (BatchOrder{8, kImages, 5}).epoch(0));
}

TEST(BatchLoader, GivesTheSameForAnyNumberOfWorkersAndAnyStart) {
  const Dataset data = numbered_images();
  const BatchOrder order{3, kImages, 5};
  const AugmentationConfig augmentation{1, true};
  BatchLoader one(data, {}, augmentation, order, 0, 8, 1);
  const auto expected = batches_of(one);
  ASSERT_EQ(expected.size(), 8U);
  for (const std::int64_t workers : {2, 5}) {
    BatchLoader loader(data, {}, augmentation, order, 3, 8, workers);
    const auto batches = batches_of(loader);
    ASSERT_EQ(batches.size(), 5U);
    for (std::size_t i = 0; i < batches.size(); ++i) {
      EXPECT_EQ(batches[i].images, expected[i + 3].images);
      EXPECT_EQ(batches[i].labels, expected[i + 3].labels);
    }
  }
}

TEST(BatchLoader, FollowsTheOrder) {
  const Dataset data = numbered_images();
  const BatchOrder order{3, kImages, 5};
  BatchLoader loader(data, {}, {}, order, 0, 8, 2);
  for (std::int64_t step = 0; step < 8; ++step) {
    const auto batch = loader.next();
    ASSERT_TRUE(batch);
    const auto epoch = order.epoch(step / 4);
    for (std::size_t i = 0; i < 5; ++i) {
      const std::int32_t image = epoch[static_cast<std::size_t>(step % 4) * 5 + i];
      EXPECT_EQ(batch->labels[i], image % 3);
      EXPECT_EQ(batch->images[i * kValues], static_cast<float>(1000 * image + 1));
    }
  }
  EXPECT_FALSE(loader.next());
}

TEST(BatchLoader, InOrderIncludesTheLastSmallBatch) {
  const Dataset data = numbered_images();
  BatchLoader loader(data, 10, 3);
  const auto batches = batches_of(loader);
  ASSERT_EQ(batches.size(), 3U);
  EXPECT_EQ(batches[2].labels.size(), 3U);
  EXPECT_EQ(batches[2].images[0], 20001.0F);
}

TEST(BatchLoader, HandsOnWhatWentWrongAndEnds) {
  const fs::path folder =
      fs::path(testing::TempDir()) / ("bitfall_broken_" + std::to_string(::getpid()));
  for (const char* name : {"a/0.png", "a/1.png", "b/0.png"}) {
    fs::create_directories((folder / name).parent_path());
    std::ofstream(folder / name) << "no image";
  }
  DataConfig config;
  config.path = folder;
  config.preprocess.crop = 4;
  config.preprocess.resize = 4;
  const Dataset data = Dataset::open(config);
  BatchLoader loader(data, 2, 2);
  EXPECT_THAT(error_of([&] { loader.next(); }), testing::HasSubstr("0.png"));
}

std::vector<float> counted() {
  std::vector<float> values(kValues);
  std::iota(values.begin(), values.end(), 1.0F);
  return values;
}

TEST(Augment, IsAShiftOfThePaddedImageMirroredOneTimeInTwo) {
  const std::vector<float> black = {-1, -2}, original = counted();
  std::set<std::tuple<std::int64_t, std::int64_t, bool>> met;
  int mirrored_count = 0;
  constexpr int kDraws = 2000;
  for (std::int32_t image = 0; image < kDraws; ++image) {
    auto values = original;
    augment({2, true}, 9, 4, image, kShape, black, values);
    bool found = false;
    for (std::int64_t down = -2; down <= 2 && !found; ++down) {
      for (std::int64_t right = -2; right <= 2 && !found; ++right) {
        for (const bool mirrored : {false, true}) {
          std::vector<float> expected;
          for (std::int64_t c = 0; c < 2; ++c) {
            for (std::int64_t y = 0; y < 4; ++y) {
              for (std::int64_t x = 0; x < 5; ++x) {
                const std::int64_t row = y + down, column = (mirrored ? 4 - x : x) + right;
                const bool inside = row >= 0 && row < 4 && column >= 0 && column < 5;
                expected.push_back(
                    inside ? original[static_cast<std::size_t>(c * 20 + row * 5 + column)]
                           : black[static_cast<std::size_t>(c)]);
              }
            }
          }
          if (expected != values) continue;
          found = true;
          met.insert({down, right, mirrored});
          mirrored_count += mirrored;
          break;
        }
      }
    }
    EXPECT_TRUE(found) << image;
  }
  EXPECT_EQ(met.size(), 50U);
  EXPECT_LT(std::abs(mirrored_count - kDraws / 2), 5 * std::sqrt(kDraws / 4.0));
}

TEST(Augment, DependsOnSeedEpochAndImageOnly) {
  const std::vector<float> black = {0, 0};
  const auto drawn = [&](std::uint64_t seed, std::int64_t epoch, std::int32_t image) {
    auto values = counted();
    augment({2, true}, seed, epoch, image, kShape, black, values);
    return values;
  };
  EXPECT_EQ(drawn(1, 2, 3), drawn(1, 2, 3));
  int same = 0;
  for (std::int32_t i = 0; i < 100; ++i) {
    same += (drawn(1, 2, i) == drawn(2, 2, i)) + (drawn(1, 2, i) == drawn(1, 3, i));
  }
  EXPECT_LT(same, 30);  // 200 chances of 1 in 50
}

TEST(BatchLoader, AThreadThatCannotBeStartedIsTold) {
  const Dataset dataset = numbered_images();
  const NoThreads limited;
  try {
    BatchLoader(dataset, 5, 2);
    ADD_FAILURE() << "nothing thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kFailure);
    EXPECT_THAT(error.what(), testing::HasSubstr("a thread cannot be started"));
  }
}

}  // namespace
}  // namespace bitfall::batch_loader_test
