#include "mean_estimate.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bootstrap.h"
#include "mean_draws.h"

namespace bitfall {
namespace {

/// What the mean of a sample and its standard error are made of.
struct Moments {
  double sum = 0, size = 0, squared = 0, cross = 0, size_squared = 0;

  void add(const MeanUnit& unit) {
    sum += unit.sum;
    size += unit.size;
    squared += unit.sum * unit.sum;
    cross += unit.sum * unit.size;
    size_squared += unit.size * unit.size;
  }
  double mean() const { return sum / size; }
  // Of a ratio to size (Cochran, Sampling Techniques, 3rd ed., section 2.11), but for a factor that
  // all resamples share.
  double error() const {
    const double m = mean();
    return std::sqrt(std::max(squared - 2 * m * cross + m * m * size_squared, 0.0)) / size;
  }
};

std::vector<MeanUnit> grouped_units(std::span<const MeanUnit> units) {
  std::vector<MeanUnit> groups;
  for (std::size_t i = 0; i < units.size(); ++i) {
    add_draw(groups, static_cast<std::int64_t>(i), units[i]);
  }
  return groups;
}

}  // namespace

MeanEstimate estimate_mean(std::span<const MeanUnit> units, double confidence,
                           std::uint64_t stream) {
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  MeanEstimate estimate{kUnknown, {kUnknown, kUnknown}, {}};
  const std::vector<MeanUnit> draws = grouped_units(units);
  Moments all;
  for (const MeanUnit& unit : draws) all.add(unit);
  if (all.size == 0) return estimate;
  estimate.mean = all.mean();
  Bootstrap bootstrap(stream);
  std::vector<double> studentised;
  for (int r = 0; r < kResamples; ++r) {
    Moments drawn;
    bootstrap.draw(draws.size(), [&](std::size_t i) { drawn.add(draws[i]); });
    estimate.replicates.push_back(drawn.mean());
    const double distance = drawn.mean() - estimate.mean, error = drawn.error();
    studentised.push_back(distance == 0 ? 0 : distance / error);
  }
  if (draws.size() < 2 || all.error() == 0) {
    if (all.sum != 0 && draws.size() > 1) estimate.interval = {estimate.mean, estimate.mean};
    return estimate;
  }
  const Interval t = percentile_interval(std::move(studentised), confidence);
  estimate.interval = {estimate.mean - t.high * all.error(), estimate.mean - t.low * all.error()};
  const bool never_negative =
      std::all_of(units.begin(), units.end(), [](const MeanUnit& unit) { return unit.sum >= 0; });
  if (never_negative) estimate.interval.low = std::max(estimate.interval.low, 0.0);
  return estimate;
}

Concentration concentration(std::span<const MeanUnit> units) {
  std::vector<double> parts;
  double sum = 0, squared = 0;
  for (const MeanUnit& unit : units) {
    if (unit.sum == 0) continue;
    parts.push_back(std::abs(unit.sum));
    sum += parts.back();
    squared += parts.back() * parts.back();
  }
  std::sort(parts.begin(), parts.end());
  return concentration_of(sum, squared, parts);
}

}  // namespace bitfall
