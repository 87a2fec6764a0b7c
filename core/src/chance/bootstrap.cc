#include "bootstrap.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bitfall {

Interval percentile_interval(std::vector<double> replicates, double confidence) {
  std::erase_if(replicates, [](double value) { return std::isnan(value); });
  if (replicates.empty()) {
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    return {kNan, kNan};
  }
  std::sort(replicates.begin(), replicates.end());
  // The replicate below which the tail lies, counted outwards: never narrower than asked for.
  const double last = static_cast<double>(replicates.size() - 1);
  const double tail = (1 - confidence) / 2;
  const auto low = static_cast<std::size_t>(std::floor(tail * last));
  const auto high = static_cast<std::size_t>(std::ceil((1 - tail) * last));
  return {replicates[low], replicates[high]};
}

}  // namespace bitfall
