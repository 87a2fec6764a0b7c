#include "calibration.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>

namespace bitfall {
namespace {

constexpr int kBinBits = 8;
constexpr int kDroppedBits = 23 - kBinBits;

}  // namespace

void MagnitudeHistogram::add(float value, std::uint64_t times) {
  const std::uint32_t bin = std::bit_cast<std::uint32_t>(std::fabs(value)) >> kDroppedBits;
  auto& bins = bins_[bin >> kBinBits];
  if (!bins) bins = std::make_unique<Bins>();
  (*bins)[bin & 255] += times;
  count_ += times;
}

float MagnitudeHistogram::percentile(double percent) const {
  if (count_ == 0) return 0;
  const auto all = static_cast<double>(count_);
  const double wanted = std::clamp(std::ceil(all * percent / 100), 1.0, all);
  double below = 0;
  for (std::uint32_t exponent = 0; exponent < bins_.size(); ++exponent) {
    if (!bins_[exponent]) continue;
    for (std::uint32_t bin = 0; bin < 256; ++bin) {
      below += static_cast<double>((*bins_[exponent])[bin]);
      if (below < wanted) continue;
      const std::uint32_t next = ((exponent << kBinBits | bin) + 1) << kDroppedBits;
      return std::bit_cast<float>(next - 1);
    }
  }
  throw std::logic_error("a histogram holds fewer values than it has counted");
}

RangeObserver::RangeObserver(std::vector<std::int64_t> shape, int axis,
                             const Calibration& calibration)
    : elements_(element_count(shape)), inner_(elements_), calibration_(calibration) {
  if (axis >= 0) {
    const auto dimension = static_cast<std::size_t>(axis);
    indices_ = shape[dimension];
    inner_ = element_count(std::span(shape).subspan(dimension + 1));
  }
  seen_.resize(static_cast<std::size_t>(indices_));
  if (calibration.rule == CalibrationRule::kPercentile) histograms_.resize(seen_.size());
}

void RangeObserver::add(std::span<const float> values) {
  if (values.empty()) return;
  const auto run = static_cast<std::size_t>(inner_);
  if (values.size() % static_cast<std::size_t>(elements_) != 0) {
    throw std::logic_error("part of a slab was given to calibration");
  }
  for (std::size_t at = 0, index = 0; at < values.size(); at += run, ++index) {
    if (index == seen_.size()) index = 0;
    // Without a branch on the value, so that it vectorises.
    float low = INFINITY, high = -INFINITY;
    for (const float value : values.subspan(at, run)) {
      const bool finite = std::fabs(value) <= 3.402823466e38f;
      low = finite && value < low ? value : low;
      high = finite && value > high ? value : high;
    }
    if (low > high) continue;
    Seen& seen = seen_[index];
    seen.range.minimum = seen.any ? std::min(seen.range.minimum, low) : low;
    seen.range.maximum = seen.any ? std::max(seen.range.maximum, high) : high;
    seen.any = true;
    if (histograms_.empty()) continue;
    for (const float value : values.subspan(at, run)) {
      if (std::isfinite(value)) histograms_[index].add(value);
    }
  }
}

Range RangeObserver::golden() const {
  Seen all;
  for (const Seen& seen : seen_) {
    if (!seen.any) continue;
    all.range.minimum =
        all.any ? std::min(all.range.minimum, seen.range.minimum) : seen.range.minimum;
    all.range.maximum =
        all.any ? std::max(all.range.maximum, seen.range.maximum) : seen.range.maximum;
    all.any = true;
  }
  return all.range;
}

std::vector<Range> RangeObserver::ranges() const {
  std::vector<Range> ranges;
  for (std::size_t i = 0; i < seen_.size(); ++i) {
    ranges.push_back(seen_[i].range);
    if (histograms_.empty()) continue;
    const float bound =
        std::min(histograms_[i].percentile(calibration_.percentile), seen_[i].range.absolute());
    ranges.back() = {-bound, bound};
  }
  return ranges;
}

}  // namespace bitfall
