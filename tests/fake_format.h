// A number format small enough to count by hand: 4-bit payload and a 3-bit "scale" for every two
// elements.
#pragma once

#include <cstdint>
#include <span>

#include "bitfall/number_format.h"

namespace bitfall {

class FakeFormat final : public NumberFormat {
 public:
  static constexpr BitClass kPayloadBits[] = {BitClass::kMantissa, BitClass::kMantissa,
                                              BitClass::kExponent, BitClass::kSign};
  static constexpr BitClass kScaleBits[] = {BitClass::kMetadata, BitClass::kMetadata,
                                            BitClass::kMetadata};
  static constexpr Register kRegisters[] = {{"payload", 4, kPayloadBits}, {"scale", 3, kScaleBits}};

  std::span<const Register> registers() const override { return kRegisters; }

  std::int64_t register_count(int index, std::span<const std::int64_t> shape) const override {
    std::int64_t values = 1;
    for (const std::int64_t size : shape) values *= size;
    return index == 1 ? (values + 1) / 2 : 0;
  }
  void encode(std::span<const float> values, const Slice&, std::span<std::uint32_t>,
              std::span<std::uint32_t> codes) const override {
    for (std::size_t i = 0; i < values.size(); ++i) {
      codes[i] = static_cast<std::uint32_t>(values[i]) & 15;
    }
  }
  void decode(std::span<const std::uint32_t> codes, const Slice&, std::span<const std::uint32_t>,
              std::span<float> values) const override {
    for (std::size_t i = 0; i < codes.size(); ++i) values[i] = static_cast<float>(codes[i]);
  }
  /// 15 times the sum of all scales, so that a test sees which metadata was given.
  float largest(std::span<const std::uint32_t> metadata) const override {
    float sum = 0;
    for (const std::uint32_t code : metadata) sum += static_cast<float>(code);
    return 15 * sum;
  }
};

}  // namespace bitfall
