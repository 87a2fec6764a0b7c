#include "distinct_numbers.h"

#include <cmath>

namespace bitfall {

double set_count(std::int64_t n, std::int64_t k) {
  constexpr double kMost = 1e280;
  if (k < 0 || k > n) return 0;
  k = std::min(k, n - k);
  double count = 1;
  for (std::int64_t i = 1; i <= k; ++i) {
    count = count * static_cast<double>(n - k + i) / static_cast<double>(i);
    if (count >= kMost) return kMost;
    if (count < 0x1p50) count = std::nearbyint(count);  // each step's count is a whole number
  }
  return count;
}

}  // namespace bitfall
