// IEEE 754-like binary formats. A format is a row of facts; one encoder and one decoder serve every
// row.
#include <algorithm>
#include <array>
#include <bit>

#include "bitfall/plugin.h"

namespace bitfall {
namespace {

/// Sign, exponent, fraction, from the most significant bit down. An exponent of all ones means Inf
/// (fraction 0) or NaN; an exponent of 0 means a subnormal. IEEE 754-2019, section 3.4.
struct FloatLayout {
  int exponent_bits;
  int mantissa_bits;

  constexpr int bits() const { return 1 + exponent_bits + mantissa_bits; }
  constexpr int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  constexpr std::uint32_t sign_bit() const { return 1u << (bits() - 1); }
  constexpr std::int32_t infinity() const { return ((1 << exponent_bits) - 1) << mantissa_bits; }
  constexpr std::int32_t quiet_bit() const { return 1 << (mantissa_bits - 1); }
  constexpr bool operator==(const FloatLayout&) const = default;
};

constexpr FloatLayout kBinary32{8, 23};
constexpr FloatLayout kBinary16{5, 10};
constexpr FloatLayout kBfloat16{8, 7};

/// Rounds to nearest, ties to even; overflow gives Inf. A NaN keeps its sign and the upper bits of
/// its payload and becomes quiet, so that it stays a NaN. Free of branches on the value, so that
/// loops over it vectorise.
template <FloatLayout kLayout>
std::uint32_t encode_value(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if constexpr (kLayout == kBinary32) {
    return bits;
  } else {
    constexpr int kDropped = kBinary32.mantissa_bits - kLayout.mantissa_bits;
    constexpr int kRebias = (kBinary32.bias() - kLayout.bias()) << kBinary32.mantissa_bits;
    const auto magnitude = static_cast<std::int32_t>(bits & ~kBinary32.sign_bit());

    // A carry out of the fraction lands in the exponent, where it is right, up to Inf. (Unsigned,
    // as a NaN may wrap.)
    const std::int32_t rebiased = magnitude - kRebias;
    const std::uint32_t half_to_even =
        ((1u << (kDropped - 1)) - 1) + (static_cast<std::uint32_t>(rebiased) >> kDropped & 1);
    const auto rounded =
        static_cast<std::int32_t>(static_cast<std::uint32_t>(rebiased) + half_to_even);
    std::int32_t code = std::min(rounded >> kDropped, kLayout.infinity());

    if constexpr (kLayout.exponent_bits < kBinary32.exponent_bits) {
      // Below the smallest normal: adding a number whose last place is the format's smallest
      // subnormal makes the hardware round there. With 8 exponent bits float32's own subnormals
      // line up and need nothing.
      constexpr int kSmallestNormal = kRebias + (1 << kBinary32.mantissa_bits);
      constexpr int kAligner = kSmallestNormal + (kDropped << kBinary32.mantissa_bits);
      const float aligned = std::bit_cast<float>(magnitude) + std::bit_cast<float>(kAligner);
      const std::int32_t subnormal = std::bit_cast<std::int32_t>(aligned) - kAligner;
      code = magnitude < kSmallestNormal ? subnormal : code;
    }

    const std::int32_t payload = (magnitude >> kDropped) & (kLayout.quiet_bit() - 1);
    const std::int32_t nan = kLayout.infinity() | kLayout.quiet_bit() | payload;
    code = magnitude > kBinary32.infinity() ? nan : code;
    const std::uint32_t sign = bits >> 31 << (kLayout.bits() - 1);
    return sign | static_cast<std::uint32_t>(code);
  }
}

/// Exact: every code is a float32. A NaN keeps all its bits. Bits above the format's width are
/// ignored.
template <FloatLayout kLayout>
float decode_value(std::uint32_t word) {
  constexpr int kDropped = kBinary32.mantissa_bits - kLayout.mantissa_bits;
  if constexpr (kLayout.exponent_bits == kBinary32.exponent_bits) {
    return std::bit_cast<float>(word << kDropped);
  } else {
    constexpr int kRebias = (kBinary32.bias() - kLayout.bias()) << kBinary32.mantissa_bits;
    constexpr int kSmallestNormal = 1 << kLayout.mantissa_bits;
    // 2^(1 - bias - mantissa_bits), the smallest subnormal.
    constexpr float kStep = std::bit_cast<float>(
        (kBinary32.bias() + 1 - kLayout.bias() - kLayout.mantissa_bits) << kBinary32.mantissa_bits);
    const auto code = static_cast<std::int32_t>(word & (kLayout.sign_bit() - 1));
    const std::int32_t normal = (code << kDropped) + kRebias;
    const std::int32_t special = (code << kDropped) | kBinary32.infinity();
    const auto subnormal = std::bit_cast<std::int32_t>(static_cast<float>(code) * kStep);
    std::int32_t bits = code < kSmallestNormal ? subnormal : normal;
    bits = code >= kLayout.infinity() ? special : bits;
    const std::uint32_t sign = (word & kLayout.sign_bit()) << (32 - kLayout.bits());
    return std::bit_cast<float>(sign | static_cast<std::uint32_t>(bits));
  }
}

template <FloatLayout kLayout>
class IeeeFloat final : public NumberFormat {
 public:
  std::span<const Register> registers() const override { return {&kPayload, 1}; }

  bool exact() const override { return kLayout == kBinary32; }

  void encode(std::span<const float> values, const Slice&, std::span<std::uint32_t>,
              std::span<std::uint32_t> codes) const override {
    for (std::size_t i = 0; i < values.size(); ++i) codes[i] = encode_value<kLayout>(values[i]);
  }

  void decode(std::span<const std::uint32_t> codes, const Slice&, std::span<const std::uint32_t>,
              std::span<float> values) const override {
    for (std::size_t i = 0; i < codes.size(); ++i) values[i] = decode_value<kLayout>(codes[i]);
  }

  float largest(std::span<const std::uint32_t>) const override {
    return decode_value<kLayout>(kLayout.infinity() - 1);
  }

 private:
  static constexpr auto kClasses = [] {
    std::array<BitClass, kLayout.bits()> classes{};
    classes.fill(BitClass::kExponent);
    std::fill_n(classes.begin(), kLayout.mantissa_bits, BitClass::kMantissa);
    classes.back() = BitClass::kSign;
    return classes;
  }();
  static constexpr Register kPayload{"payload", kLayout.bits(), kClasses};
};

template <FloatLayout kLayout>
constexpr Component<NumberFormat> row(const char* id, const char* summary) {
  return {id, summary, {}, [](const Options&) -> NumberFormat* { return new IeeeFloat<kLayout>; }};
}

constexpr Component<NumberFormat> kFormats[] = {
    row<kBinary32>(
        "fp32",
        "IEEE 754 binary32: 1 sign, 8 exponent, 23 mantissa bits; every bit of a value is kept"),
    row<kBinary16>("fp16",
                   "IEEE 754 binary16: 1 sign, 5 exponent, 10 mantissa bits; overflow gives Inf"),
    row<kBfloat16>("bf16", "bfloat16: 1 sign, 8 exponent, 7 mantissa bits; overflow gives Inf"),
};

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("formats_ieee", "1.0", "IEEE 754-like binary formats, rounded to nearest even",
               [](bitfall::Registrar& registrar) {
                 for (const auto& format : bitfall::kFormats) registrar.add(format);
               });
