#include "image_orders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "philox.h"

namespace bitfall::image_orders_test {
namespace {

using testing::UnorderedElementsAre;

std::vector<std::int32_t> dealt(const ImageOrders& orders, std::uint64_t stratum,
                                std::int64_t begin, std::int64_t end) {
  std::vector<std::int32_t> images;
  for (std::int64_t i = begin; i < end; ++i) images.push_back(orders.image(stratum, i, end));
  return images;
}

ImageOrders orders_of(std::uint64_t seed, std::int32_t images,
                      std::size_t keep = std::size_t{64} << 20) {
  return ImageOrders(seed, ImageChunks(seed, images, 3), keep);
}

/// However many trials a stratum has, all but one of the passes that it needs are full.
TEST(ImageOrders, RoundsComeChunkByChunk) {
  const ImageChunks chunks(9, 100, 8);
  const ImageOrders orders(9, chunks);
  for (std::uint64_t stratum = 0; stratum < 5; ++stratum) {
    const auto images = dealt(orders, stratum, 0, 100);
    std::set<std::int64_t> finished;
    std::int64_t current = -1;
    for (const std::int32_t image : images) {
      const std::int64_t chunk = chunks.chunk_of(image);
      if (chunk == current) continue;
      EXPECT_TRUE(finished.insert(chunk).second) << "chunk " << chunk << " comes in two pieces";
      current = chunk;
    }
  }
}

/// With fewer trials than images, each image is still as likely as any other.
TEST(ImageOrders, FirstTrialMeetsEveryImageAlike) {
  constexpr int kSeeds = 6000, kImages = 12;
  std::vector<int> met(kImages, 0);
  for (int seed = 0; seed < kSeeds; ++seed) {
    const ImageOrders orders(static_cast<std::uint64_t>(seed),
                             ImageChunks(static_cast<std::uint64_t>(seed), kImages, 4));
    ++met[static_cast<std::size_t>(orders.image(0, 0, 1))];
  }
  const double mean = kSeeds / 12.0, sigma = std::sqrt(mean * (1 - 1 / 12.0));
  for (const int count : met) EXPECT_NEAR(count, mean, 5 * sigma);
}

TEST(ImageOrders, EveryRoundHasEachImageOnceInAFreshOrder) {
  const ImageOrders orders = orders_of(1, 4);
  std::set<std::vector<std::int32_t>> seen;
  for (std::int64_t round = 0; round < 20; ++round) {
    const auto images = dealt(orders, 0, round * 4, round * 4 + 4);
    EXPECT_THAT(images, UnorderedElementsAre(0, 1, 2, 3));
    seen.insert(images);
  }
  EXPECT_GT(seen.size(), 5u);  // 24 orders exist; 20 rounds with 5 or fewer are no accident
}

TEST(ImageOrders, StrataAndSeedsHaveOrdersOfTheirOwn) {
  const ImageOrders orders = orders_of(1, 50), other_seed = orders_of(2, 50);
  const auto first = dealt(orders, 7, 0, 50);
  EXPECT_NE(first, dealt(orders, 8, 0, 50));
  EXPECT_NE(first, dealt(other_seed, 7, 0, 50));
}

TEST(ImageOrders, WhatIsKeptChangesNoAnswer) {
  const ImageOrders forgetful = orders_of(3, 7, 1), keeping = orders_of(3, 7);
  PhiloxStream random(4, RandomDomain::kTrial, 0);
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t stratum = random.below(5);
    const auto index = static_cast<std::int64_t>(random.below(60));
    EXPECT_EQ(forgetful.image(stratum, index, 60), keeping.image(stratum, index, 60));
  }
}

TEST(ImageOrders, LengthOfTheStratumChangesNoAnswer) {
  const ImageOrders orders = orders_of(3, 100), other = orders_of(3, 100);
  EXPECT_EQ(orders.image(0, 2, 3), other.image(0, 2, 100));
  EXPECT_EQ(orders.image(0, 90, 100), other.image(0, 90, 100));
  EXPECT_EQ(orders.image(0, 2, 3), other.image(0, 2, 100));
}

TEST(ImageOrders, OneImageIsMetByAll) {
  const ImageOrders orders = orders_of(1, 1);
  EXPECT_EQ(orders.image(0, 0, 1000000000000), 0);
  EXPECT_EQ(orders.image(7, 999999999999, 1000000000000), 0);
}

}  // namespace
}  // namespace bitfall::image_orders_test
