#include "accuracy_kept.h"

#include <algorithm>
#include <array>

namespace bitfall {

std::vector<AccuracyKept> accuracy_kept(std::span<const GoldenResult> golden,
                                        std::span<const std::int32_t> labels, double confidence) {
  constexpr int kLast = 40;  // per cent
  std::vector<AccuracyKept> curve;
  const auto images = static_cast<std::int64_t>(golden.size());
  for (int percent = 0; percent <= kLast; ++percent) {
    const double threshold = percent / 100.0;
    const auto kept = std::count_if(golden.begin(), golden.end(), [&](const GoldenResult& row) {
      const bool right = row.top1 == labels[static_cast<std::size_t>(row.image)];
      // A stored top2diff is a float32: 0.15 is compared as such.
      return right && (percent == 0 || row.top2diff >= static_cast<float>(threshold));
    });
    curve.push_back({threshold, proportion(kept, images, confidence)});
  }
  return curve;
}

std::vector<AccuracyKept> shown_thresholds(std::span<const AccuracyKept> curve) {
  constexpr std::array<std::size_t, 7> kShown = {0, 5, 10, 15, 20, 30, 40};
  std::vector<AccuracyKept> points;
  for (const std::size_t percent : kShown) {
    if (percent < curve.size()) points.push_back(curve[percent]);
  }
  return points;
}

}  // namespace bitfall
