// The bootstrap: what a statistic would have been on samples drawn anew from the one at hand (Efron
// and Tibshirani, An Introduction to the Bootstrap, 1993).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "philox.h"
#include "statistics.h"

namespace bitfall {

inline constexpr int kResamples = 2000;

/// One resample after the other. The same `id` gives the same resamples at every run; two things
/// resampled apart need two ids.
class Bootstrap {
 public:
  explicit Bootstrap(std::uint64_t id) : random_(kSeed, RandomDomain::kBootstrap, id) {}

  /// One resample: calls use(index) `units` times, with indices drawn uniformly from 0 to units
  /// - 1.
  template <typename Use>
  void draw(std::size_t units, Use use) {
    for (std::size_t i = 0; i < units; ++i) {
      // Without rejection an index is off its share by at most units / 2^32.
      use(static_cast<std::size_t>(random_.next() * static_cast<std::uint64_t>(units) >> 32));
    }
  }

 private:
  static constexpr std::uint64_t kSeed = 20230423;
  PhiloxStream random_;
};

/// The percentile interval of a statistic's replicates, which may be infinite. Replicates that are
/// NaN (not defined on their resample) are left out; all NaN gives NaN ends.
Interval percentile_interval(std::vector<double> replicates, double confidence);

}  // namespace bitfall
