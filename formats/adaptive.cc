// AdaptivFloat (Tambe et al., DAC 2020): a small float whose exponent bias fits the tensor. No
// subnormals, no Inf, no NaN; the code whose exponent and fraction are 0 stands for 0 and not for
// the smallest power of two.
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

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

/// The arithmetic of one width and bias, in double, where every float32 and every scaled code is a
/// normal number; free of branches on the value.
struct AdaptiveCodec {
  int dropped;         // fraction bits of a double that the format lacks
  std::int64_t first;  // code of a double's bits >> dropped, taken off
  std::int64_t largest_code;
  double largest, smallest;
  std::uint32_t sign_bit;

  AdaptiveCodec(int exponent_bits, int mantissa_bits, int bias)
      : dropped(52 - mantissa_bits),
        first(static_cast<std::int64_t>(bias + 1023) << mantissa_bits),
        largest_code((std::int64_t{1} << (exponent_bits + mantissa_bits)) - 1),
        largest(decode_magnitude(largest_code)),
        smallest(decode_magnitude(1)),
        sign_bit(1u << (exponent_bits + mantissa_bits)) {}

  BITFALL_IN_LOOP double decode_magnitude(std::int64_t code) const {
    return std::bit_cast<double>((code + first) << dropped);
  }

  BITFALL_IN_LOOP std::uint32_t encode(float value) const {
    const double magnitude = std::fabs(static_cast<double>(value));
    const auto bits = std::bit_cast<std::int64_t>(magnitude);
    const std::int64_t half_to_even =
        (std::int64_t{1} << (dropped - 1)) - 1 + (bits >> dropped & 1);
    return finish(value, magnitude, ((bits + half_to_even) >> dropped) - first,
                  magnitude > smallest / 2);
  }

  // Up with a probability that is the fraction cut off.
  std::uint32_t encode(float value, std::uint32_t random) const {
    const double magnitude = std::fabs(static_cast<double>(value));
    const auto bits = std::bit_cast<std::int64_t>(magnitude);
    const std::int64_t draw = (static_cast<std::int64_t>(random) << 20) >> (52 - dropped);
    return finish(value, magnitude, ((bits + draw) >> dropped) - first,
                  random * 0x1p-32 < magnitude / smallest);
  }

  BITFALL_IN_LOOP float decode(std::uint32_t word) const {
    const std::int64_t code = word & (sign_bit - 1);
    const double magnitude = code == 0 ? 0.0 : decode_magnitude(code);
    return static_cast<float>((word & sign_bit) != 0 ? -magnitude : magnitude);
  }

 private:
  BITFALL_IN_LOOP std::uint32_t finish(float value, double magnitude, std::int64_t code,
                                       bool up) const {
    code = magnitude < smallest ? (up ? 1 : 0) : code;
    code = code > largest_code ? largest_code : code;
    code = magnitude >= largest ? largest_code : code;
    const bool nan = value != value;
    code = nan ? 0 : code;
    const std::uint32_t sign = nan ? 0 : std::bit_cast<std::uint32_t>(value) >> 31;
    return static_cast<std::uint32_t>(code) | sign * sign_bit;
  }
};

BITFALL_VECTOR_LOOP void encode_all(AdaptiveCodec codec, const float* values, std::uint32_t* codes,
                                    std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) codes[i] = codec.encode(values[i]);
}

BITFALL_VECTOR_LOOP void decode_all(AdaptiveCodec codec, const std::uint32_t* codes, float* values,
                                    std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.decode(codes[i]);
}

BITFALL_VECTOR_LOOP void round_all(AdaptiveCodec codec, float* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.decode(codec.encode(values[i]));
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

  std::span<const Register> registers() const override { return registers_; }

  std::int64_t register_count(int index, std::span<const std::int64_t>) const override {
    return index == 1 ? 1 : 0;
  }

  bool calibrated() const override { return true; }

  /// The top exponent field means the largest golden magnitude's exponent; without one, 0.
  void calibrate(std::span<const Range> ranges, std::span<const std::int64_t>,
                 std::span<std::uint32_t> metadata) const override {
    const float most = ranges[0].absolute();
    const int highest = most > 0 ? std::ilogb(most) : 0;
    const int bias = highest - ((1 << exponent_bits_) - 1);
    metadata[0] = static_cast<std::uint32_t>(bias < -128 ? -128 : bias) & 0xFF;
  }

  void encode(std::span<const float> values, const Slice& slice, std::span<std::uint32_t> metadata,
              std::span<std::uint32_t> codes) const override {
    const AdaptiveCodec codec = codec_of(metadata);
    if (!rounding_.stochastic) {
      return encode_all(codec, values.data(), codes.data(), values.size());
    }
    const std::uint64_t key = rounding_.stream_key(slice);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::int64_t element = slice.first + static_cast<std::int64_t>(i) * slice.stride;
      codes[i] = codec.encode(values[i], rounding_bits(key, element));
    }
  }

  void decode(std::span<const std::uint32_t> codes, const Slice&,
              std::span<const std::uint32_t> metadata, std::span<float> values) const override {
    decode_all(codec_of(metadata), codes.data(), values.data(), codes.size());
  }

  void emulate(std::span<float> values, const Slice& slice,
               std::span<std::uint32_t> metadata) const override {
    if (rounding_.stochastic) return NumberFormat::emulate(values, slice, metadata);
    round_all(codec_of(metadata), values.data(), values.size());
  }

  /// 2^bias.
  double metadata_value(int, std::uint32_t code) const override {
    return std::ldexp(1.0, bias_of(code));
  }

  float largest(std::span<const std::uint32_t> metadata) const override {
    const double most = codec_of(metadata).largest;
    return most > std::numeric_limits<float>::max() ? std::numeric_limits<float>::max()
                                                    : static_cast<float>(most);
  }

  FormatTraits traits() const override {
    const AdaptiveCodec codec(exponent_bits_, mantissa_bits_, 0);
    return {codec.largest, 0, codec.smallest, "saturates", "0", "the paper's algorithm in NumPy"};
  }

 private:
  static int bias_of(std::uint32_t code) { return static_cast<std::int8_t>(code & 0xFF); }
  AdaptiveCodec codec_of(std::span<const std::uint32_t> metadata) const {
    return {exponent_bits_, mantissa_bits_, bias_of(metadata[0])};
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
