// A protection whose guard() does no more at sites than keep values within ranges. It gives this by
// Protection::extension(kGuardRanges), and a host can then guard values itself where they lie on a
// GPU, without fetching them. The host compares guard() with it, and calls guard() where they
// differ.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bitfall/number_format.h"
#include "bitfall/protection.h"

namespace bitfall {

inline constexpr const char* kGuardRanges = "bitfall.guard_ranges/1";

/// The state is two numbers a unit, the least and the largest value that stay. Units are all of a
/// site, each of its channels, or each of its values in row-major order, as the state's size tells;
/// without a state there is one, whose values stay where they are finite. Of the other values NaN
/// becomes 0, and a number the bound that it is beyond, or 0. A unit with a bound that is NaN keeps
/// all of its values.
struct GuardRanges {
  std::uint32_t size = sizeof(GuardRanges);  // of this struct in bytes, as the plugin knows it
  bool zero = false;                         // a number outside becomes 0

  /// What becomes of a value of a unit with these bounds.
  float guarded(float value, float low, float high) const {
    const bool unbound = low != low || high != high;
    if (unbound || (value >= low && value <= high)) return value;
    if (zero || value != value) return 0;
    return value < low ? low : high;
  }
};

/// The unit of a site's element: element / inner % count.
struct GuardUnits {
  std::int64_t count = 0;  // 0: no units have a state of this size
  std::int64_t inner = 1;
  std::int64_t of(std::int64_t element) const { return element / inner % count; }
};
/// By how many numbers the state has.
inline GuardUnits guard_units(const ProtectedSite& site, std::int64_t numbers) {
  const std::int64_t size = element_count(site.shape);
  if (numbers == 0 || numbers == 2) return {1, size > 0 ? size : 1};
  if (numbers == 2 * size) return {size, 1};
  if (site.channel_axis < 0) return {};
  const auto axis = static_cast<std::size_t>(site.channel_axis);
  if (numbers != 2 * site.shape[axis]) return {};
  return {site.shape[axis], element_count(site.shape.subspan(axis + 1))};
}

}  // namespace bitfall
