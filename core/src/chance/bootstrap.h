// The bootstrap: what a statistic would have been on samples drawn anew from the one at hand (Efron
// and Tibshirani, An Introduction to the Bootstrap, 1993).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "philox.h"
#include "statistics.h"

namespace bitfall {

inline constexpr int kResamples = 2000;
/// Of heavy-tailed quantities: at 99 % an end is the 50th of them, which moves by a few per cent of
/// itself from one generator to the next where the 10th of 2000 moved by up to a quarter.
inline constexpr int kTailResamples = 10000;

/// The units of a sample, so that a resample draws those alone which matter: of a heavy-tailed
/// quantity most have next to no part in a mean, and are taken by their number and average.
class UnitChoice {
 public:
  /// shares: of each unit, its largest part of any of the sums that are resampled (at least 0; 1 =
  /// always drawn by itself). The units of least shares, which together make at most a thousandth,
  /// are alike.
  explicit UnitChoice(std::span<const double> shares);

  const std::vector<std::size_t>& apart() const { return apart_; }
  const std::vector<std::size_t>& alike() const { return alike_; }

 private:
  friend class Bootstrap;
  std::vector<std::size_t> apart_, alike_;
  // By number of units apart in a resample: the probability of at most so many (binomial).
  std::vector<double> at_most_;
};

/// One resample after the other. The same `id` gives the same resamples at every run; two things
/// resampled apart need two ids.
class Bootstrap {
 public:
  explicit Bootstrap(std::uint64_t id) : random_(kSeed, RandomDomain::kBootstrap, id) {}

  /// One resample: calls use(index) `units` times, with indices drawn uniformly from 0 to units
  /// - 1.
  template <typename Use>
  void draw(std::size_t units, Use use) {
    draw(units, units, use);
  }

  /// The same of a choice: calls use(index) for the units apart, and returns how many were alike.
  template <typename Use>
  std::size_t draw(const UnitChoice& units, Use use) {
    const std::size_t all = units.apart_.size() + units.alike_.size();
    const std::size_t drawn = units.alike_.empty() ? all : number_apart(units);
    if (!units.apart_.empty()) {
      draw(units.apart_.size(), drawn, [&](std::size_t i) { use(units.apart_[i]); });
    }
    return all - drawn;
  }

 private:
  static constexpr std::uint64_t kSeed = 20230423;
  template <typename Use>
  void draw(std::size_t units, std::size_t times, Use use) {
    draws_.resize(times);
    random_.fill(draws_);
    for (const std::uint32_t draw : draws_) {
      // Without rejection an index is off its share by at most units / 2^32.
      use(static_cast<std::size_t>(draw * static_cast<std::uint64_t>(units) >> 32));
    }
  }
  std::size_t number_apart(const UnitChoice& units);

  PhiloxStream random_;
  std::vector<std::uint32_t> draws_;  // of one resample
};

/// The percentile interval of a statistic's replicates, which may be infinite. Replicates that are
/// NaN (not defined on their resample) are left out; all NaN gives NaN ends.
Interval percentile_interval(std::vector<double> replicates, double confidence);

}  // namespace bitfall
