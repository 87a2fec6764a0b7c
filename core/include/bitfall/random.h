// The random stream that the host hands to a component: counter-based, so a trial's draws depend on
// nothing but the campaign's seed and the trial's number.
#pragma once

#include <cstdint>

namespace bitfall {

class RandomStream {
 public:
  virtual ~RandomStream() = default;

  /// The next 32 uniformly distributed bits.
  virtual std::uint32_t next() = 0;

  std::uint64_t next64() {
    const std::uint64_t low = next();
    return low | (static_cast<std::uint64_t>(next()) << 32);
  }

  /// Uniform over 0 (inclusive) to n (exclusive), without bias; n > 0.
  /// Lemire's multiply-and-shift with rejection ("Fast Random Integer Generation in an Interval",
  /// 2019).
  std::uint64_t below(std::uint64_t n) {
    __extension__ using Wide = unsigned __int128;
    Wide product = static_cast<Wide>(next64()) * n;
    auto low = static_cast<std::uint64_t>(product);
    if (low < n) {
      const std::uint64_t threshold = (0 - n) % n;
      while (low < threshold) {
        product = static_cast<Wide>(next64()) * n;
        low = static_cast<std::uint64_t>(product);
      }
    }
    return static_cast<std::uint64_t>(product >> 64);
  }

  /// Uniform over [0, 1) in steps of 2^-53.
  double uniform() { return static_cast<double>(next64() >> 11) * 0x1.0p-53; }
};

}  // namespace bitfall
