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

/// Watches the golden values of one site. The order of the images does not matter.
class RangeObserver {
 public:
  /// `axis`: the dimension that takes one range an index, or -1 for one range.
  RangeObserver(std::vector<std::int64_t> shape, int axis, const Calibration& calibration);

  /// One tensor of the shape: one image's slab, or a parameter.
  void add(std::span<const float> values);

  /// Smallest and largest finite value; 0 and 0 before any.
  Range golden() const;

  /// By the calibration's rule: one range, or one an index of the axis. Under a percentile
  /// both ends are the magnitude that the wanted share of finite values lies within (and no more
  /// than the largest), to 1/256 upwards.
  std::vector<Range> ranges() const;

 private:
  // Counts of magnitudes by exponent and the upper 8 bits of the fraction; pages are made when met.
  class Histogram {
   public:
    void add(float value);
    float percentile(double percent) const;

   private:
    using Page = std::array<std::uint32_t, 256>;
    std::vector<std::unique_ptr<Page>> pages_ = std::vector<std::unique_ptr<Page>>(256);
    std::uint64_t count_ = 0;
  };
  struct Seen {
    Range range;
    bool any = false;
  };

  std::int64_t inner_ = 1;  // elements that follow each other at one index of the axis
  std::int64_t indices_ = 1;
  Calibration calibration_;
  std::vector<Seen> seen_;  // by index of the axis
  std::vector<Histogram> histograms_;
};

}  // namespace bitfall
