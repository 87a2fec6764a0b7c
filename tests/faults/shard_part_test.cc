#include "shard_part.h"

#include <gtest/gtest.h>

#include <set>

namespace bitfall::shard_part_test {
namespace {

/// Trials that meet these images, in this order, as a list of faults gives them.
Plan plan_of(const std::vector<std::int32_t>& images) {
  std::vector<ListedFault> faults;
  for (const std::int32_t image : images) {
    faults.push_back({0, image, {{0, 0, EditOperation::kFlip, 1, 0}}});
  }
  static const std::vector<Site> kSites(1);
  return Plan::from_list(std::move(faults), kSites);
}

/// 50 trials on 23 of 30 images: the chunks have 0 to 13 of them.
std::vector<std::int32_t> uneven_images() {
  std::vector<std::int32_t> images;
  for (int i = 0; i < 50; ++i) images.push_back(i * i % 23);
  return images;
}

TEST(ShardPart, PartsAreDisjointCompleteAndOfOneSize) {
  const Plan plan = plan_of(uneven_images());
  const ImageChunks chunks(7, 30, 4);
  for (const std::int64_t count : {1, 2, 3, 7, 8, 9, 49, 50, 51, 200}) {
    std::set<std::int64_t> seen;
    std::int64_t fewest = plan.size(), most = 0;
    for (std::int64_t index = 1; index <= count; ++index) {
      const ShardPart part(plan, chunks, {index, count});
      std::int64_t trials = 0;
      part.for_each([&](std::int64_t trial, std::int64_t chunk) {
        EXPECT_TRUE(seen.insert(trial).second);
        EXPECT_EQ(chunk, chunks.chunk_of(plan.trial(trial).image));
        EXPECT_TRUE(part.touches(chunk));
        ++trials;
      });
      EXPECT_EQ(trials, part.trials());
      fewest = std::min(fewest, trials);
      most = std::max(most, trials);
    }
    EXPECT_EQ(seen.size(), 50u) << count;
    EXPECT_LE(most - fewest, 1) << count;
  }
}

TEST(ShardPart, EveryChunkIsSomebodysAndFewAreTwice) {
  const Plan plan = plan_of(uneven_images());
  const ImageChunks chunks(7, 30, 4);
  for (const std::int64_t count : {1, 2, 3, 7, 8, 9, 50, 51, 200}) {
    std::int64_t touched = 0;
    std::vector<int> owners(static_cast<std::size_t>(chunks.count()), 0);
    for (std::int64_t index = 1; index <= count; ++index) {
      const ShardPart part(plan, chunks, {index, count});
      for (std::int64_t chunk = 0; chunk < chunks.count(); ++chunk) {
        if (!part.touches(chunk)) continue;
        ++touched;
        ++owners[static_cast<std::size_t>(chunk)];
      }
    }
    for (const int owner : owners) EXPECT_GE(owner, 1) << count;
    EXPECT_LE(touched, chunks.count() + count - 1) << count;
  }
}

TEST(ShardPart, ImagesWithoutTrialsHaveAnOwner) {
  const ImageChunks chunks(7, 30, 4);
  for (const auto& images : {std::vector<std::int32_t>{}, {3}}) {
    const Plan plan = plan_of(images);
    for (std::int64_t chunk = 0; chunk < chunks.count(); ++chunk) {
      int owners = 0;
      for (std::int64_t index = 1; index <= 5; ++index) {
        owners += ShardPart(plan, chunks, {index, 5}).touches(chunk) ? 1 : 0;
      }
      EXPECT_EQ(owners, 1) << chunk;
    }
  }
}

TEST(ShardPart, TrialsOfASiteStayTogether) {
  const Plan plan = plan_of(uneven_images());
  const ImageChunks chunks(7, 30, 4);
  const ShardPart part(plan, chunks, {2, 3});
  std::int64_t before = -1;
  part.for_each([&](std::int64_t trial, std::int64_t) {
    EXPECT_GT(trial, before);
    before = trial;
  });
}

}  // namespace
} // namespace bitfall::shard_part_test
