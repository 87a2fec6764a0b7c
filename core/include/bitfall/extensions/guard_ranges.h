// A protection whose guard() does no more at sites than keep values within ranges. It gives this by
// Protection::extension(kGuardRanges), and a host can then guard values itself where they lie on a
// GPU, without fetching them. The host compares guard() with it, and calls guard() where they differ.
#pragma once

#include <cstdint>

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
};

}  // namespace bitfall
