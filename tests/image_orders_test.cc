#include "image_orders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "philox.h"

namespace bitfall {
namespace {

using testing::UnorderedElementsAre;

std::vector<std::int32_t> dealt(const ImageOrders& orders, std::int32_t entry, std::int32_t site,
                                std::int64_t begin, std::int64_t end) {
  std::vector<std::int32_t> images;
  for (std::int64_t i = begin; i < end; ++i) images.push_back(orders.image(entry, site, i, end));
  return images;
}

TEST(ImageOrders, FirstRoundIsTheRandomOrderOfItsStream) {
  const ImageOrders orders(9, 100);
  PhiloxStream random(9, RandomDomain::kImageOrder, (std::uint64_t{3} << 32) + 5);
  EXPECT_EQ(dealt(orders, 3, 5, 0, 100), random_order(100, random));
}

TEST(ImageOrders, EveryRoundHasEachImageOnceInAFreshOrder) {
  const ImageOrders orders(1, 4);
  std::set<std::vector<std::int32_t>> seen;
  for (std::int64_t round = 0; round < 20; ++round) {
    const auto images = dealt(orders, 0, 0, round * 4, round * 4 + 4);
    EXPECT_THAT(images, UnorderedElementsAre(0, 1, 2, 3));
    seen.insert(images);
  }
  EXPECT_GT(seen.size(), 5u);  // 24 orders exist; 20 rounds with 5 or fewer are no accident
}

TEST(ImageOrders, StrataAndSeedsHaveOrdersOfTheirOwn) {
  const ImageOrders orders(1, 50), other_seed(2, 50);
  const auto first = dealt(orders, 0, 0, 0, 50);
  EXPECT_NE(first, dealt(orders, 0, 1, 0, 50));
  EXPECT_NE(first, dealt(orders, 1, 0, 0, 50));
  EXPECT_NE(first, dealt(other_seed, 0, 0, 0, 50));
}

TEST(ImageOrders, WhatIsKeptChangesNoAnswer) {
  const ImageOrders forgetful(3, 7, 1), keeping(3, 7);
  PhiloxStream random(4, RandomDomain::kTrial, 0);
  for (int i = 0; i < 2000; ++i) {
    const auto site = static_cast<std::int32_t>(random.below(5));
    const auto index = static_cast<std::int64_t>(random.below(60));
    EXPECT_EQ(forgetful.image(0, site, index, 60), keeping.image(0, site, index, 60));
  }
}

TEST(ImageOrders, LengthOfTheStratumChangesNoAnswer) {
  const ImageOrders orders(3, 100), other(3, 100);
  EXPECT_EQ(orders.image(0, 0, 2, 3), other.image(0, 0, 2, 100));
  EXPECT_EQ(orders.image(0, 0, 90, 100), other.image(0, 0, 90, 100));
  EXPECT_EQ(orders.image(0, 0, 2, 3), other.image(0, 0, 2, 100));
}

TEST(ImageOrders, OneImageIsMetByAll) {
  const ImageOrders orders(1, 1);
  EXPECT_EQ(orders.image(0, 0, 0, 1000000000000), 0);
  EXPECT_EQ(orders.image(4, 7, 999999999999, 1000000000000), 0);
}

}  // namespace
}  // namespace bitfall
