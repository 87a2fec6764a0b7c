// AdaptivFloat (Tambe et al., DAC 2020): a small float whose exponent bias fits the tensor. No
// subnormals, no Inf, no NaN; the code whose exponent and fraction are 0 stands for 0 and not for
// the smallest power of two.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "bitfall/plugin.h"
#include "rounding.h"
#include "vector_loop.h"

namespace bitfall {
namespace {

constexpr auto kBiasClasses = [] {
  std::array<BitClass, 8> classes{};
  classes.fill(BitClass::kMetadata);
  return classes;
}();

/// The arithmetic of one width and bias; free of branches on the value. In float where all numbers
/// of the format are normal numbers there, for speed; in double they always are.
template <typename Real>
struct AdaptiveCodec {
  static constexpr bool kSingle = std::is_same_v<Real, float>;
  static constexpr int kFractionBits = kSingle ? 23 : 52;
  static constexpr int kBias = kSingle ? 127 : 1023;
  using Word = std::conditional_t<kSingle, std::uint32_t, std::uint64_t>;

  int dropped;  // fraction bits of Real that the format lacks
  Word first;   // a number's upper bits as a Real, less its code
  Real largest, smallest;
  std::uint32_t sign_bit;

  static bool serves(int exponent_bits, int bias) {
    return bias > -kBias && bias + (1 << exponent_bits) - 1 <= kBias;
  }

  AdaptiveCodec(int exponent_bits, int mantissa_bits, int bias)
      : dropped(kFractionBits - mantissa_bits),
        first(static_cast<Word>(bias + kBias) << mantissa_bits),
        largest(magnitude_of((Word{1} << (exponent_bits + mantissa_bits)) - 1)),
        smallest(magnitude_of(1)),
        sign_bit(1u << (exponent_bits + mantissa_bits)) {}

  BITFALL_IN_LOOP std::uint32_t encode(float value) const {
    return with_sign(value, code_of(nearest(value)));
  }

  // Up with a probability that is the fraction cut off.
  BITFALL_IN_LOOP std::uint32_t encode(float value, std::uint32_t random) const {
    const Real magnitude = bounded(value);
    const auto draw = static_cast<Word>(std::uint64_t{random} << 20 >> (52 - dropped));
    const Word drawn = std::bit_cast<Word>(magnitude) + draw;
    const bool up = random * (0x1p-32 * smallest) < magnitude;
    return with_sign(value, magnitude < smallest ? Word{up} : (drawn >> dropped) - first);
  }

  BITFALL_IN_LOOP float decode(std::uint32_t word) const {
    const auto code = static_cast<Word>(word & (sign_bit - 1));
    const Real magnitude = code == 0 ? Real{0} : magnitude_of(code);
    return static_cast<float>((word & sign_bit) != 0 ? -magnitude : magnitude);
  }

  /// decode(encode(value)), bit for bit, without the code.
  BITFALL_IN_LOOP float round(float value) const {
    const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(nearest(value)));
    const std::uint32_t sign = std::bit_cast<std::uint32_t>(value) & 0x80000000u;
    return std::bit_cast<float>(value == value ? bits | sign : bits);
  }

 private:
  // Of a code other than 0.
  BITFALL_IN_LOOP Real magnitude_of(Word code) const {
    return std::bit_cast<Real>((code + first) << dropped);
  }
  BITFALL_IN_LOOP Word code_of(Real magnitude) const {
    const Word code = (std::bit_cast<Word>(magnitude) >> dropped) - first;
    return magnitude < smallest ? 0 : code;
  }
  BITFALL_IN_LOOP std::uint32_t with_sign(float value, Word code) const {
    const std::uint32_t sign = std::bit_cast<std::uint32_t>(value) >> 31 != 0 ? sign_bit : 0;
    return static_cast<std::uint32_t>(code) | (value == value ? sign : 0);
  }

  // |value|, at most `largest`; 0 for NaN.
  BITFALL_IN_LOOP Real bounded(float value) const {
    Real magnitude = std::fabs(static_cast<Real>(value));
    magnitude = magnitude < largest ? magnitude : largest;
    return value == value ? magnitude : Real{0};
  }

  // The magnitude rounded to a number of the format: below the smallest, half-way between it and 0
  // decides; else to nearest, ties to even.
  BITFALL_IN_LOOP Real nearest(float value) const {
    const Real magnitude = bounded(value);
    const auto bits = std::bit_cast<Word>(magnitude);
    const Word half_to_even = (Word{1} << (dropped - 1)) - 1 + (bits >> dropped & 1);
    const Real rounded = std::bit_cast<Real>((bits + half_to_even) >> dropped << dropped);
    const Real small = magnitude > smallest / 2 ? smallest : Real{0};
    return magnitude < smallest ? small : rounded;
  }
};

using Single = AdaptiveCodec<float>;
using Double = AdaptiveCodec<double>;

BITFALL_VECTOR_LOOP void encode_all(Single codec, const float* values, std::uint32_t* codes,
                                    std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) codes[i] = codec.encode(values[i]);
}

BITFALL_VECTOR_LOOP void encode_all(Double codec, const float* values, std::uint32_t* codes,
                                    std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) codes[i] = codec.encode(values[i]);
}

BITFALL_VECTOR_LOOP void decode_all(Single codec, const std::uint32_t* codes, float* values,
                                    std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.decode(codes[i]);
}

BITFALL_VECTOR_LOOP void decode_all(Double codec, const std::uint32_t* codes, float* values,
                                    std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.decode(codes[i]);
}

BITFALL_VECTOR_LOOP void round_all(Single codec, float* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.round(values[i]);
}

BITFALL_VECTOR_LOOP void round_all(Double codec, float* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.round(values[i]);
}

class AdaptiveFloat final : public NumberFormat {
 public:
  AdaptiveFloat(int bits, int exponent_bits, const Rounding& rounding)
      : exponent_bits_(exponent_bits),
        mantissa_bits_(bits - 1 - exponent_bits),
        rounding_(rounding) {
    classes_.fill(BitClass::kExponent);
    std::fill_n(classes_.begin(), mantissa_bits_, BitClass::kMantissa);
    classes_[static_cast<std::size_t>(bits - 1)] = BitClass::kSign;
    registers_[0] = {"payload", bits, std::span(classes_).first(static_cast<std::size_t>(bits))};
    registers_[1] = {"exponent_bias", 8, kBiasClasses};
  }
  AdaptiveFloat(const AdaptiveFloat&) = delete;
  AdaptiveFloat& operator=(const AdaptiveFloat&) = delete;

  View<const Register> registers() const override { return registers_; }

  std::int64_t register_count(int index, View<const std::int64_t>) const override {
    return index == 1 ? 1 : 0;
  }

  bool calibrated() const override { return true; }

  /// The top exponent field means the largest golden magnitude's exponent; without one, 0.
  void calibrate(View<const Range> ranges, View<const std::int64_t>,
                 View<std::uint32_t> metadata) const override {
    const float most = ranges[0].absolute();
    const int highest = most > 0 ? std::ilogb(most) : 0;
    const int bias = highest - ((1 << exponent_bits_) - 1);
    metadata[0] = static_cast<std::uint32_t>(bias < -128 ? -128 : bias) & 0xFF;
  }

  void encode(View<const float> values, const Slice& slice, View<std::uint32_t> metadata,
              View<std::uint32_t> codes) const override {
    with_codec(metadata, [&](const auto& codec) {
      if (!rounding_.stochastic) {
        return encode_all(codec, values.data(), codes.data(), values.size());
      }
      const std::uint64_t key = rounding_.stream_key(slice);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::int64_t element = slice.first + static_cast<std::int64_t>(i) * slice.stride;
        codes[i] = codec.encode(values[i], rounding_bits(key, element));
      }
    });
  }

  /// Numbers above float32's largest become Inf, those below its smallest normal are rounded once.
  void decode(View<const std::uint32_t> codes, const Slice&,
              View<const std::uint32_t> metadata, View<float> values) const override {
    with_codec(metadata, [&](const auto& codec) {
      decode_all(codec, codes.data(), values.data(), codes.size());
    });
  }

  void emulate(View<float> values, const Slice& slice,
               View<std::uint32_t> metadata) const override {
    if (rounding_.stochastic) return NumberFormat::emulate(values, slice, metadata);
    with_codec(metadata,
               [&](const auto& codec) { round_all(codec, values.data(), values.size()); });
  }

  /// 2^bias.
  double metadata_value(int, std::uint32_t code) const override {
    return std::ldexp(1.0, bias_of(code));
  }

  float largest(View<const std::uint32_t> metadata) const override {
    const double most = Double(exponent_bits_, mantissa_bits_, bias_of(metadata[0])).largest;
    return most > std::numeric_limits<float>::max() ? std::numeric_limits<float>::max()
                                                    : static_cast<float>(most);
  }

  FormatTraits traits() const override {
    const Double codec(exponent_bits_, mantissa_bits_, 0);
    return {codec.largest, 0, codec.smallest, "saturates", "0", "its authors' code"};
  }

 private:
  static int bias_of(std::uint32_t code) { return static_cast<std::int8_t>(code & 0xFF); }

  // Calls use(codec) with the one that serves the bias.
  template <typename Use>
  void with_codec(View<const std::uint32_t> metadata, Use use) const {
    const int bias = bias_of(metadata[0]);
    if (Single::serves(exponent_bits_, bias)) {
      use(Single(exponent_bits_, mantissa_bits_, bias));
    } else {
      use(Double(exponent_bits_, mantissa_bits_, bias));
    }
  }

  int exponent_bits_;
  int mantissa_bits_;
  Rounding rounding_;
  std::array<BitClass, 16> classes_{};
  std::array<Register, 2> registers_{};
};

constexpr OptionSpec kOptions[] = {
    {"bits", OptionType::kInteger, "8", 4, 16, nullptr, "width of a code, sign included"},
    {"exponent_bits", OptionType::kInteger, "4", 1, 8, nullptr, "width of the exponent field"},
    kRoundingOption,
    kSeedOption};

constexpr Component<NumberFormat> kAdaptiveFloat{
    "adaptive_float",
    "AdaptivFloat: a small float whose exponent bias is calibrated for each tensor on golden data",
    kOptions, [](const Options& options) -> NumberFormat* {
      const auto bits = static_cast<int>(options.integer("bits"));
      const auto exponent_bits = static_cast<int>(options.integer("exponent_bits"));
      if (exponent_bits > bits - 2) {
        throw std::invalid_argument("exponent_bits: " + std::to_string(exponent_bits) +
                                    " leaves no fraction in " + std::to_string(bits) +
                                    " bits; allowed: 1 to " +
                                    std::to_string(bits - 2 < 8 ? bits - 2 : 8));
      }
      return new AdaptiveFloat(bits, exponent_bits, Rounding(options));
    }};

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("formats_adaptive", "1.0", "Floats that adapt their exponent bias to the tensor",
               [](bitfall::Registrar& registrar) { registrar.add(bitfall::kAdaptiveFloat); });
