// What golden data teach a calibrated format, and the golden range of a site.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bitfall/number_format.h"
#include "run_settings.h"

namespace bitfall {

/// Counts of magnitudes by exponent and the upper 8 bits of the fraction.
class MagnitudeHistogram {
 public:
  /// Counts a finite value, `times` times.
  void add(float value, std::uint64_t times = 1);
  /// The magnitude that so many per cent of the counted values lie within, to 1/256 upwards; 0
  /// before any.
  float percentile(double percent) const;

 private:
  using Bins = std::array<std::uint64_t, 256>;
  std::vector<std::unique_ptr<Bins>> bins_ = std::vector<std::unique_ptr<Bins>>(256);  // when met
  std::uint64_t count_ = 0;
};

/// Watches the golden values of one site. The order of the images does not matter.
class RangeObserver {
 public:
  /// `axis`: the dimension that takes one range per index, or -1 for one range.
  RangeObserver(std::vector<std::int64_t> shape, int axis, const Calibration& calibration);

  /// One or more tensors of the shape, one after the other: images' slabs, or a parameter. Throws
  /// logic_error where the last is not whole.
  void add(std::span<const float> values);

  /// Smallest and largest finite value; 0 and 0 before any.
  Range golden() const;

  /// By the calibration's rule: one range, or one per index of the axis. Under a percentile
  /// both ends are the magnitude that the wanted share of finite values lies within (and no more
  /// than the largest), to 1/256 upwards.
  std::vector<Range> ranges() const;

 private:
  struct Seen {
    Range range;
    bool any = false;
  };

  std::int64_t elements_;  // of the shape
  std::int64_t inner_;     // elements that follow each other at one index of the axis
  std::int64_t indices_ = 1;
  Calibration calibration_;
  std::vector<Seen> seen_;  // by index of the axis
  std::vector<MagnitudeHistogram> histograms_;
};

}  // namespace bitfall
