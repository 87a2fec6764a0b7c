#include "mean_estimate.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "bootstrap.h"
#include "mean_draws.h"

namespace bitfall {
namespace {

/// What the mean of a sample and its standard error are made of.
struct Moments {
  double sum = 0, size = 0, squared = 0, cross = 0, size_squared = 0;

  void add(const MeanUnit& unit, double times = 1) {
    sum += times * unit.sum;
    size += times * unit.size;
    squared += times * unit.sum * unit.sum;
    cross += times * unit.sum * unit.size;
    size_squared += times * unit.size * unit.size;
  }
  double mean() const { return sum / size; }
  // Of a ratio to size (Cochran, Sampling Techniques, 3rd ed., section 2.11), but for a factor that
  // all resamples share. 0 of equal draws, whatever rounding leaves.
  double error() const {
    constexpr double kRounding = 1e-12;
    const double m = mean();
    const double spread = squared - 2 * m * cross + m * m * size_squared;
    return spread <= kRounding * squared ? 0 : std::sqrt(spread) / size;
  }
};

std::vector<MeanUnit> grouped_units(std::span<const MeanUnit> units) {
  std::vector<MeanUnit> groups;
  for (std::size_t i = 0; i < units.size(); ++i) {
    add_draw(groups, static_cast<std::int64_t>(i), units[i]);
  }
  return groups;
}

// Largest part of the sum; units of another size than the first are never alike.
std::vector<double> shares_of(const std::vector<MeanUnit>& draws) {
  double sum = 0;
  for (const MeanUnit& unit : draws) sum += std::abs(unit.sum);
  std::vector<double> shares;
  for (const MeanUnit& unit : draws) {
    const bool usual = unit.size == draws.front().size;
    shares.push_back(usual ? (sum > 0 ? std::abs(unit.sum) / sum : 0) : 1);
  }
  return shares;
}

// (mean of a resample - mean) / its own standard error.
std::vector<double> studentised(const std::vector<MeanUnit>& draws, const Moments& all,
                                std::uint64_t stream) {
  const UnitChoice choice(shares_of(draws));
  MeanUnit usual{0, 0};  // the average of those alike
  for (const std::size_t i : choice.alike()) {
    usual.sum += draws[i].sum / static_cast<double>(choice.alike().size());
    usual.size = draws[i].size;
  }
  Bootstrap bootstrap(stream);
  std::vector<double> values;
  for (int r = 0; r < kTailResamples; ++r) {
    Moments drawn;
    const auto alike =
        static_cast<double>(bootstrap.draw(choice, [&](std::size_t i) { drawn.add(draws[i]); }));
    drawn.add(usual, alike);
    const double distance = drawn.mean() - all.mean(), error = drawn.error();
    values.push_back(distance == 0 ? 0 : distance / error);
  }
  return values;
}

// Of so many draws that are all `value`, of a quantity between `least` and `most`.
Interval interval_of_equal(double value, std::int64_t draws, double confidence, double least,
                           double most) {
  const double share = clopper_pearson(draws, draws, confidence).low;
  return {share * value + (1 - share) * least, share * value + (1 - share) * most};
}

}  // namespace

MeanEstimate estimate_mean(std::span<const MeanUnit> units, double confidence, std::uint64_t stream,
                           double most) {
  MeanEstimate estimate{kNan, {kNan, kNan}};
  const std::vector<MeanUnit> draws = grouped_units(units);
  Moments all;
  for (const MeanUnit& unit : draws) all.add(unit);
  if (all.size == 0) return estimate;
  estimate.mean = all.mean();
  const std::int64_t known = std::ranges::count_if(units, [](auto& unit) { return unit.size > 0; });
  if (known < 2 || all.squared == 0) return estimate;
  const bool never_negative =
      std::ranges::all_of(units, [](const MeanUnit& unit) { return unit.sum >= 0; });
  const double least = never_negative ? 0 : -std::numeric_limits<double>::infinity();
  if (all.error() == 0) {
    estimate.interval = interval_of_equal(estimate.mean, known, confidence, least, most);
    return estimate;
  }
  const Interval t = percentile_interval(studentised(draws, all, stream), confidence);
  estimate.interval = {std::max(estimate.mean - t.high * all.error(), least),
                       std::min(estimate.mean - t.low * all.error(), most)};
  return estimate;
}

Concentration concentration(std::span<const MeanUnit> units) {
  std::vector<Counted> parts;
  double sum = 0, squared = 0;
  for (const MeanUnit& unit : units) {
    if (unit.sum == 0) continue;
    const double part = std::abs(unit.sum);
    parts.push_back({part, 1});
    sum += part;
    squared += part * part;
  }
  std::ranges::sort(parts, {}, &Counted::value);
  return concentration_of(sum, squared, parts);
}

}  // namespace bitfall
