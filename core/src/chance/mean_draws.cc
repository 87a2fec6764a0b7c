#include "mean_draws.h"

#include <algorithm>
#include <cmath>

namespace bitfall {

void add_draw(std::vector<MeanUnit>& draws, std::int64_t number, const MeanUnit& draw) {
  const auto i = static_cast<std::size_t>(number);
  if (i < kMostSeparateDraws) {
    draws.push_back(draw);
  } else {
    draws[i % kMostSeparateDraws].sum += draw.sum;
    draws[i % kMostSeparateDraws].size += draw.size;
  }
}

Concentration concentration_of(double sum, double squared, std::span<const Counted> parts) {
  Concentration result;
  if (parts.empty()) return result;
  // Sums beyond double's largest: one draw outweighs all.
  result.effective = std::isfinite(squared) ? sum / squared * sum : 1;
  double reached = 0;
  for (auto part = parts.rbegin(); part != parts.rend() && reached < sum / 2; ++part) {
    const double missing = std::max(std::ceil((sum / 2 - reached) / part->value), 1.0);
    const double taken = std::min(static_cast<double>(part->count), missing);
    reached += taken * part->value;
    result.half += static_cast<std::int64_t>(taken);
  }
  return result;
}

}  // namespace bitfall
