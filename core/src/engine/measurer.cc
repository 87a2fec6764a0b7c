#include "measurer.h"

#include <limits>
#include <span>
#include <utility>

namespace bitfall {

void Measurer::add(std::unique_ptr<Metric> metric) {
  columns_ += metric->columns().size();
  metrics_.push_back(std::move(metric));
}

std::vector<double> Measurer::measure(const Observation& observation) const {
  std::vector<double> values(columns_, std::numeric_limits<double>::quiet_NaN());
  std::span<double> rest(values);
  for (const auto& metric : metrics_) {
    const std::size_t width = metric->columns().size();
    metric->measure(observation, rest.first(width));
    rest = rest.subspan(width);
  }
  return values;
}

}  // namespace bitfall
