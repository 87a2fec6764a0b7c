// Rounding that a format's options choose: to nearest, or stochastic with draws that depend on
// nothing but the seed, the place (Slice::stream) and the element, so that the golden and every
// faulty pass round alike, in any order and on any number of threads.
#pragma once

#include <Random123/philox.h>

#include <cstdint>

#include "bitfall/number_format.h"
#include "bitfall/options.h"

namespace bitfall {

inline constexpr OptionSpec kRoundingOption{
    "rounding",
    OptionType::kText,
    "nearest",
    0,
    0,
    "nearest|stochastic",
    "nearest: ties to even; stochastic: up with a probability equal to the fraction cut off"};
inline constexpr OptionSpec kSeedOption{
    "rounding_seed",
    OptionType::kInteger,
    "0",
    0,
    9007199254740992.0,  // 2^53
    nullptr,
    "seed of stochastic rounding; the same seed gives every pass the same draws"};

/// What the two options say.
struct Rounding {
  bool stochastic = false;
  std::uint64_t seed = 0;

  explicit Rounding(const Options& options)
      : stochastic(options.text(kRoundingOption.name) == "stochastic"),
        seed(static_cast<std::uint64_t>(options.integer(kSeedOption.name))) {}
  Rounding() = default;

  /// The key of one tensor's draws: the seed and the tensor's stream, mixed so that neighbouring
  /// seeds and streams share nothing (the finaliser of splitmix64; Steele et al., OOPSLA 2014).
  std::uint64_t stream_key(const Slice& slice) const {
    const auto mixed = [](std::uint64_t z) {
      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
      z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
      return z ^ (z >> 31);
    };
    return mixed(mixed(seed + 0x9E3779B97F4A7C15u) ^ slice.stream);
  }
};

/// 32 uniform bits for one element (its flat index in the tensor): Philox2x32-10 (Salmon et al.,
/// SC'11), of which the key's low word is the key and the element is the counter.
inline std::uint32_t rounding_bits(std::uint64_t stream_key, std::int64_t element) {
  const auto counter = static_cast<std::uint64_t>(element) ^ (stream_key & 0xFFFFFFFF00000000u);
  const r123::Philox2x32::ctr_type words = {
      {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32)}};
  const r123::Philox2x32::key_type key = {{static_cast<std::uint32_t>(stream_key)}};
  return r123::Philox2x32()(words, key)[0];
}

}  // namespace bitfall
