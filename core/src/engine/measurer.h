// The metrics of a campaign, measured together.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "bitfall/metric.h"

namespace bitfall {

/// Thread-safe once the metrics are added.
class Measurer {
 public:
  void add(std::unique_ptr<Metric> metric);

  std::size_t columns() const { return columns_; }
  /// One number per column of every metric, in the order in which they were added.
  std::vector<double> measure(const Observation& observation) const;

 private:
  std::vector<std::unique_ptr<Metric>> metrics_;
  std::size_t columns_ = 0;
};

}  // namespace bitfall
