// How often each value came, of any number of positive values in bounded memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace bitfall {

/// A value, and how often it came.
struct Counted {
  double value = 0;
  std::int64_t count = 0;
};

/// Keeps every value while there are few. Of more it keeps how many lie in each of 1024 bins per
/// power of two, all of which count as the middle of their bin, off by at most 2^-11 of themselves
/// (0.05 %), as HdrHistogram and DDSketch (Masson et al., VLDB 2019) do: 8 kB per power of two that
/// the values reach.
class ValueCounts {
 public:
  static constexpr std::size_t kMostApart = 16384;

  /// value: positive and finite.
  void add(double value);
  void add(const ValueCounts& other);
  bool empty() const { return bins_.empty() && apart_.empty(); }

  /// Every value, rising. Takes the values away.
  std::vector<Counted> take();

 private:
  static constexpr int kBinsOfPower = 1024;
  using Bins = std::array<std::int64_t, kBinsOfPower>;

  void count(double value);
  void count_apart();

  std::vector<double> apart_;  // empty once there are bins
  std::map<int, Bins> bins_;   // by the exponent of double
};

}  // namespace bitfall
