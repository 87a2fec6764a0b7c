// Integer formats with a scale that is calibrated once on golden data.
#include <array>
#include <bit>
#include <cmath>

#include "bitfall/plugin.h"

namespace bitfall {
namespace {

constexpr int kBits = 8;
constexpr float kLowest = -128;
constexpr float kHighest = 127;

constexpr auto kPayloadClasses = [] {
  std::array<BitClass, kBits> classes{};
  classes.fill(BitClass::kMantissa);
  classes.back() = BitClass::kSign;
  return classes;
}();
constexpr auto kScaleClasses = [] {
  std::array<BitClass, 32> classes{};
  classes.fill(BitClass::kMetadata);
  return classes;
}();
constexpr Register kRegisters[] = {{"payload", kBits, kPayloadClasses},
                                   {"scale", 32, kScaleClasses}};

/// round-half-even(value / scale), saturated to [-128, 127]; a quotient that is NaN (as of a NaN
/// value) gives 0.
std::uint32_t encode_value(float value, float scale) {
  float quotient = value / scale;
  quotient = quotient == quotient ? quotient : 0.0f;
  quotient = quotient < kLowest ? kLowest : quotient;
  quotient = quotient > kHighest ? kHighest : quotient;
  // 1.5 x 2^23: the sum's last place is 1, so the addition rounds half to even, and its low bits
  // are the code in two's complement. Unlike std::rint this vectorises on every x86-64.
  constexpr float kAligner = 0x1.8p23f;
  return std::bit_cast<std::uint32_t>(quotient + kAligner) & 0xFF;
}

/// code x scale in float32, whatever the scale's bits are.
float decode_value(std::uint32_t code, float scale) {
  return static_cast<float>(static_cast<std::int8_t>(code)) * scale;
}

/// Symmetric, one scale a tensor: scale = largest golden magnitude / 127.
class Int8 final : public NumberFormat {
 public:
  std::span<const Register> registers() const override { return kRegisters; }

  std::int64_t register_count(int index, std::span<const std::int64_t>) const override {
    return index == 1 ? 1 : 0;
  }

  bool calibrated() const override { return true; }

  /// A place whose golden values are all 0, or too small to divide, gets the scale 1.
  void calibrate(std::span<const Range> ranges, std::span<const std::int64_t>,
                 std::span<std::uint32_t> metadata) const override {
    const float scale = ranges[0].absolute() / kHighest;
    metadata[0] = std::bit_cast<std::uint32_t>(scale > 0 ? scale : 1.0f);
  }

  void encode(std::span<const float> values, const Slice&, std::span<std::uint32_t> metadata,
              std::span<std::uint32_t> codes) const override {
    const auto scale = std::bit_cast<float>(metadata[0]);
    for (std::size_t i = 0; i < values.size(); ++i) codes[i] = encode_value(values[i], scale);
  }

  void decode(std::span<const std::uint32_t> codes, const Slice&,
              std::span<const std::uint32_t> metadata, std::span<float> values) const override {
    const auto scale = std::bit_cast<float>(metadata[0]);
    for (std::size_t i = 0; i < codes.size(); ++i) values[i] = decode_value(codes[i], scale);
  }

  double metadata_value(int, std::uint32_t code) const override {
    return std::bit_cast<float>(code);
  }

  /// 128 x |scale|, or the largest code's magnitude that stays finite under a corrupted scale.
  float largest(std::span<const std::uint32_t> metadata) const override {
    const float scale = std::fabs(std::bit_cast<float>(metadata[0]));
    for (int code = static_cast<int>(-kLowest); code > 0; --code) {
      const float value = static_cast<float>(code) * scale;
      if (std::isfinite(value)) return value;
    }
    return 0;
  }
};

constexpr Component<NumberFormat> kInt8{
    "int8",
    "8-bit integer, symmetric, one scale a tensor calibrated on golden data: value = code x scale",
    {},
    [](const Options&) -> NumberFormat* { return new Int8; }};

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("formats_integer", "1.0",
               "Integer formats with a calibrated scale, which faults can hit too",
               [](bitfall::Registrar& registrar) { registrar.add(bitfall::kInt8); });
