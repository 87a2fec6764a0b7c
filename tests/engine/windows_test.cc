#include "windows.h"

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <random>
#include <tuple>
#include <vector>

namespace bitfall::windows_test {
namespace {

std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t> sides(const Box& box) {
  return {box.top, box.left, box.bottom, box.right};
}

/// Against each place of the result and each that it reads, along one axis.
TEST(Windows, ReachedIsWhatReadsTheBox) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    const auto from = [&](std::int64_t low, std::int64_t high) {
      return low + static_cast<std::int64_t>(random() % static_cast<unsigned>(high - low + 1));
    };
    Spatial step;
    step.kernel[0] = from(1, 5);
    step.stride[0] = from(1, 3);
    step.padding[0] = from(0, 4);
    step.dilation[0] = from(1, 3);
    const std::int64_t size = from(6, 12), begin = from(0, size - 1), end = from(begin + 1, size);
    const std::int64_t span = (step.kernel[0] - 1) * step.dilation[0] + 1;
    if (size + 2 * step.padding[0] < span) continue;
    const std::int64_t made = (size + 2 * step.padding[0] - span) / step.stride[0] + 1;
    Box expected;
    for (std::int64_t y = 0; y < made; ++y) {
      for (std::int64_t i = 0; i < step.kernel[0]; ++i) {
        const std::int64_t read = step.first_needed(0, y) + i * step.dilation[0];
        if (read >= begin && read < end) expected.include({y, 2, y + 1, 3});
      }
    }
    const Box got = reached(step, {begin, 2, end, 3}, made, 9);
    EXPECT_LE(got.top, expected.empty() ? made : expected.top);
    EXPECT_GE(got.bottom, expected.empty() ? 0 : expected.bottom);
    // A dilated kernel may step over the box.
    if (step.dilation[0] == 1) {
      EXPECT_EQ(got.empty(), expected.empty());
      if (!expected.empty()) {
        EXPECT_EQ(sides(got), sides(expected));
      }
    }
  }
}

TEST(Windows, AroundStaysInsideTheMap) {
  const std::vector<Box> boxes{{0, 0, 2, 2}, {5, 6, 6, 8}, {}};
  const Origins origins = around(boxes, 5, 3, 4, 6, 8);
  EXPECT_EQ(origins.top, (std::vector<std::int64_t>{0, 3, 0, 0, 3}));
  EXPECT_EQ(origins.left, (std::vector<std::int64_t>{0, 4, 0, 0, 4}));
  EXPECT_EQ(largest(boxes), (std::pair<std::int64_t, std::int64_t>{2, 2}));
}

/// Cuts windows out of padded maps, changes some places, and finds these again.
TEST(Windows, CutOutAndTightenedFollowTheMap) {
  at::manual_seed(2);
  std::mt19937 random(3);
  const at::Tensor plain = at::randn({2, 3, 7, 9});
  for (const at::Tensor& map : {plain, plain.contiguous(at::MemoryFormat::ChannelsLast)}) {
    for (int round = 0; round < 200; ++round) {
      const auto image = static_cast<std::int64_t>(random() % 2);
      const auto top = static_cast<std::int64_t>(random() % 9) - 2;
      const auto left = static_cast<std::int64_t>(random() % 11) - 2;
      at::Tensor values = at::empty({1, 3, 4, 5});
      cut_out(map, image, top, left, 4, 5, -1, values.data_ptr<float>());
      const at::Tensor padded = at::constant_pad_nd(map[image], {2, 7, 2, 7}, -1);
      EXPECT_TRUE(values[0].equal(padded.narrow(1, top + 2, 4).narrow(2, left + 2, 5)));
      if (top < 0 || left < 0 || top + 4 > 7 || left + 5 > 9) continue;
      Box changed;
      for (unsigned i = 0; i < random() % 4; ++i) {
        const auto y = static_cast<std::int64_t>(random() % 4);
        const auto x = static_cast<std::int64_t>(random() % 5);
        values[0][static_cast<std::int64_t>(random() % 3)][y][x] += 1;
        changed.include({top + y, left + x, top + y + 1, left + x + 1});
      }
      const Window window{{}, {{top}, {left}}, values};
      const Box got = tightened(window, 0, {top, left, top + 4, left + 5}, map, image);
      EXPECT_EQ(got.empty(), changed.empty());
      if (!changed.empty()) {
        EXPECT_EQ(sides(got), sides(changed));
      }
    }
  }
}

}  // namespace
}  // namespace bitfall::windows_test
