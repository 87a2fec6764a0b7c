// Fixed point: two's complement with a number of fraction bits that is part of the format.
#include <array>
#include <bit>
#include <cmath>
#include <stdexcept>
#include <string>

#include "bitfall/plugin.h"
#include "rounding.h"
#include "vector_loop.h"

namespace bitfall {
namespace {

// Codes of so few bits are exact in float32 arithmetic.
constexpr int kFastBits = 22;

/// The arithmetic of codes that float32 has room for; free of branches on the value.
struct FastCodec {
  float to_steps, step, lowest, highest;  // lowest and highest in steps
  std::uint32_t mask;
  int sign_shift;

  static constexpr float kAligner = 0x1.8p23f;  // the sum's last place is 1: rounds half to even

  BITFALL_IN_LOOP float steps(float value) const {
    float steps = value * to_steps;
    steps = steps == steps ? steps : 0.0f;
    steps = steps < lowest ? lowest : steps;
    return steps > highest ? highest : steps;
  }
  BITFALL_IN_LOOP std::uint32_t encode(float value) const {
    return std::bit_cast<std::uint32_t>(steps(value) + kAligner) & mask;
  }
  BITFALL_IN_LOOP float decode(std::uint32_t code) const {
    const auto number = static_cast<std::int32_t>(code << sign_shift) >> sign_shift;
    return static_cast<float>(number) * step;
  }
  BITFALL_IN_LOOP float round(float value) const {
    return ((steps(value) + kAligner) - kAligner) * step;
  }
};

BITFALL_VECTOR_LOOP void encode_all(FastCodec codec, const float* values, std::uint32_t* codes,
                                    std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) codes[i] = codec.encode(values[i]);
}

BITFALL_VECTOR_LOOP void decode_all(FastCodec codec, const std::uint32_t* codes, float* values,
                                    std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.decode(codes[i]);
}

BITFALL_VECTOR_LOOP void round_all(FastCodec codec, float* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.round(values[i]);
}

class Fixed final : public NumberFormat {
 public:
  Fixed(int integer_bits, int fraction_bits, const Rounding& rounding)
      : bits_(1 + integer_bits + fraction_bits),
        fraction_bits_(fraction_bits),
        highest_(std::ldexp(1.0, bits_ - 1) - 1),
        rounding_(rounding) {
    classes_.fill(BitClass::kMantissa);
    classes_[static_cast<std::size_t>(bits_ - 1)] = BitClass::kSign;
    payload_ = {"payload", bits_, std::span(classes_).first(static_cast<std::size_t>(bits_))};
    fast_ = {std::ldexp(1.0f, fraction_bits),
             std::ldexp(1.0f, -fraction_bits),
             -std::ldexp(1.0f, bits_ - 1),
             static_cast<float>(highest_),
             ~0u >> (32 - bits_),
             32 - bits_};
  }
  Fixed(const Fixed&) = delete;
  Fixed& operator=(const Fixed&) = delete;

  std::span<const Register> registers() const override { return {&payload_, 1}; }

  void encode(std::span<const float> values, const Slice& slice, std::span<std::uint32_t>,
              std::span<std::uint32_t> codes) const override {
    if (bits_ <= kFastBits && !rounding_.stochastic) {
      return encode_all(fast_, values.data(), codes.data(), values.size());
    }
    const std::uint64_t key = rounding_.stream_key(slice);
    for (std::size_t i = 0; i < values.size(); ++i) {
      double steps = std::isnan(values[i]) ? 0.0 : std::ldexp(double{values[i]}, fraction_bits_);
      steps = std::fmin(std::fmax(steps, -highest_ - 1), highest_);
      if (rounding_.stochastic) {
        const std::int64_t element = slice.first + static_cast<std::int64_t>(i) * slice.stride;
        const double below = std::floor(steps);
        steps = below + (rounding_bits(key, element) * 0x1p-32 < steps - below ? 1 : 0);
      } else {
        steps = std::nearbyint(steps);  // ties to even
      }
      codes[i] = static_cast<std::uint32_t>(static_cast<std::int64_t>(steps)) & fast_.mask;
    }
  }

  /// Codes above 2^24 are rounded to float32.
  void decode(std::span<const std::uint32_t> codes, const Slice&, std::span<const std::uint32_t>,
              std::span<float> values) const override {
    decode_all(fast_, codes.data(), values.data(), codes.size());
  }

  void emulate(std::span<float> values, const Slice& slice,
               std::span<std::uint32_t> metadata) const override {
    if (bits_ > kFastBits || rounding_.stochastic) {
      return NumberFormat::emulate(values, slice, metadata);
    }
    round_all(fast_, values.data(), values.size());
  }

  float largest(std::span<const std::uint32_t>) const override {
    return std::ldexp(1.0f, bits_ - 1 - fraction_bits_);
  }

  FormatTraits traits() const override {
    return {std::ldexp(1.0, bits_ - 1 - fraction_bits_),
            0,
            std::ldexp(1.0, -fraction_bits_),
            "saturates",
            "0",
            "exact integers in Python"};
  }

 private:
  int bits_;
  int fraction_bits_;
  double highest_;
  Rounding rounding_;
  FastCodec fast_{};
  std::array<BitClass, 32> classes_{};
  Register payload_{};
};

constexpr OptionSpec kOptions[] = {
    {"integer_bits", OptionType::kInteger, "7", 0, 31, nullptr,
     "bits before the binary point, the sign not counted"},
    {"fraction_bits", OptionType::kInteger, "8", 0, 31, nullptr, "bits behind the binary point"},
    kRoundingOption,
    kSeedOption};

constexpr Component<NumberFormat> kFixed{
    "fixed", "fixed point in two's complement: 1 sign, integer_bits and fraction_bits; saturates",
    kOptions, [](const Options& options) -> NumberFormat* {
      const auto integer_bits = static_cast<int>(options.integer("integer_bits"));
      const auto fraction_bits = static_cast<int>(options.integer("fraction_bits"));
      if (1 + integer_bits + fraction_bits > 32 || integer_bits + fraction_bits < 1) {
        throw std::invalid_argument(
            "fraction_bits: " + std::to_string(fraction_bits) + " with " +
            std::to_string(integer_bits) + " integer_bits and the sign make " +
            std::to_string(1 + integer_bits + fraction_bits) + " bits; allowed: 2 to 32 in all");
      }
      return new Fixed(integer_bits, fraction_bits, Rounding(options));
    }};

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("formats_fixed", "1.0", "Fixed-point formats",
               [](bitfall::Registrar& registrar) { registrar.add(bitfall::kFixed); });
