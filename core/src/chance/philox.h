// The host's random stream: Philox4x32-10 (Salmon et al., SC'11; Random123), keyed by (seed, id,
// domain).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "bitfall/random.h"

namespace bitfall {

/// What a stream is used for, so that two uses with one id never share draws.
enum class RandomDomain : std::uint32_t {
  kTrial = 1,
  kImageOrder = 2,
  kSiteChoice = 3,
  kImageChunk = 4,
  kBootstrap = 5,
  kHead = 6,
  kEpochOrder = 7,
  kAugmentation = 8,
  kStep = 9,
  kMix = 10,
  kCrop = 11,
  kErase = 12,
  kPictureChange = 13,
  kImageOfClass = 14
};

/// Key = seed (low, high word); counter = (draw block, domain, id low, id high). The same arguments
/// give the same stream on every machine.
class PhiloxStream final : public RandomStream {
 public:
  PhiloxStream(std::uint64_t seed, RandomDomain domain, std::uint64_t id);
  std::uint32_t next() override;
  /// As many draws at once as next() would give one by one.
  void fill(std::span<std::uint32_t> draws);

 private:
  std::array<std::uint32_t, 4> advance();

  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  int left_ = 0;
};

/// A uniformly drawn order of 0..n-1 (Fisher-Yates).
std::vector<std::int32_t> random_order(std::int32_t n, RandomStream& random);

}  // namespace bitfall
