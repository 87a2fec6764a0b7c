#include "image_chunks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace bitfall::image_chunks_test {
namespace {

TEST(ImageChunks, EveryImageHasOnePlace) {
  for (const std::int32_t images : {1, 7, 64, 100}) {
    for (const std::int64_t batch : {1, 3, 64, 200}) {
      const ImageChunks chunks(5, images, batch);
      std::set<std::int32_t> seen;
      for (std::int64_t chunk = 0; chunk < chunks.count(); ++chunk) {
        for (std::int64_t row = 0; row < chunks.size(chunk); ++row) {
          const std::int32_t image = chunks.image(chunk, row);
          EXPECT_TRUE(seen.insert(image).second);
          EXPECT_EQ(chunks.chunk_of(image), chunk);
          EXPECT_EQ(chunks.row_of(image), row);
        }
      }
      EXPECT_EQ(seen.size(), static_cast<std::size_t>(images));
    }
  }
}

TEST(ImageChunks, FreeRowsHoldTheChunksOwnImages) {
  const ImageChunks chunks(5, 10, 8);
  EXPECT_EQ(chunks.size(1), 2);
  for (std::int64_t row = 0; row < 8; ++row) {
    EXPECT_EQ(chunks.image(1, row), chunks.image(1, row % 2));
  }
}

/// Folders come sorted by class; a chunk must not. Over many seeds each image is as often in the
/// first chunk as any other.
TEST(ImageChunks, AreRandomSamples) {
  constexpr int kSeeds = 4000, kImages = 20, kBatch = 5;
  std::vector<int> in_first(kImages, 0);
  for (int seed = 0; seed < kSeeds; ++seed) {
    const ImageChunks chunks(static_cast<std::uint64_t>(seed), kImages, kBatch);
    for (int row = 0; row < kBatch; ++row)
      ++in_first[static_cast<std::size_t>(chunks.image(0, row))];
  }
  const double mean = kSeeds * 0.25, sigma = std::sqrt(kSeeds * 0.25 * 0.75);
  for (const int count : in_first) EXPECT_NEAR(count, mean, 5 * sigma);
}

}  // namespace
}  // namespace bitfall::image_chunks_test
