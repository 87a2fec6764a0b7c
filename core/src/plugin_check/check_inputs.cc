#include "check_inputs.h"

#include <algorithm>
#include <cmath>

namespace bitfall {

std::string dimensions_text(const Shape& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : " x ") + std::to_string(size);
  return text;
}

std::vector<float> usual_values(std::size_t count, RandomStream& random) {
  std::vector<float> values(count);
  for (float& value : values) {
    const int exponent = static_cast<int>(random.below(8)) - 5;
    value = static_cast<float>(std::ldexp(1 + random.uniform(), exponent));
    if (random.below(2) == 1) value = -value;
  }
  return values;
}

std::vector<float> wild_values(std::size_t count, RandomStream& random) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr std::array kWild = {std::numeric_limits<float>::quiet_NaN(),
                                kInfinity,
                                -kInfinity,
                                0.0F,
                                -0.0F,
                                1e-45F,
                                -1e-40F,
                                std::numeric_limits<float>::max(),
                                -std::numeric_limits<float>::max(),
                                65520.0F};
  std::vector<float> values = usual_values(count, random);
  for (std::size_t i = 0; i < count; ++i) {
    if (random.below(2) == 1) values[i] = kWild[random.below(kWild.size())];
  }
  return values;
}

std::vector<Range> ranges_of(const std::vector<float>& values, const Shape& shape, int axis) {
  std::int64_t inner = 1, count = 1;
  if (axis >= 0) {
    count = shape[static_cast<std::size_t>(axis)];
    for (std::size_t d = static_cast<std::size_t>(axis) + 1; d < shape.size(); ++d) {
      inner *= shape[d];
    }
  }
  std::vector<Range> ranges(static_cast<std::size_t>(count));
  std::vector<bool> seen(ranges.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) continue;
    const auto at = static_cast<std::size_t>(static_cast<std::int64_t>(i) / inner % count);
    Range& range = ranges[at];
    range.minimum = seen[at] ? std::min(range.minimum, values[i]) : values[i];
    range.maximum = seen[at] ? std::max(range.maximum, values[i]) : values[i];
    seen[at] = true;
  }
  return ranges;
}

}  // namespace bitfall
