// Fixed point: two's complement with a number of fraction bits that is part of the format.
#include <array>
#include <bit>
#include <cmath>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "bitfall/plugin.h"
#include "rounding.h"
#include "vector_loop.h"

namespace bitfall {
namespace {

// Codes of so few bits are exact in float32 arithmetic; wider ones are rounded in double.
constexpr int kFloatBits = 22;

/// The arithmetic of one format; free of branches on the value, so that loops over it vectorise.
template <typename Real>
struct FixedCodec {
  Real to_steps, lowest, highest;  // steps in a unit; the lowest and highest number of steps
  float step;
  std::uint32_t mask;
  int sign_shift;

  FixedCodec(int bits, int fraction_bits)
      : to_steps(static_cast<Real>(std::ldexp(1.0, fraction_bits))),
        lowest(static_cast<Real>(-std::ldexp(1.0, bits - 1))),
        highest(static_cast<Real>(std::ldexp(1.0, bits - 1) - 1)),
        step(std::ldexp(1.0f, -fraction_bits)),
        mask(~0u >> (32 - bits)),
        sign_shift(32 - bits) {}

  // 1.5 x 2^23 or 2^52: the last place of a sum with it is 1, so that the addition rounds half to
  // even, and the sum's low bits are the number in two's complement.
  static constexpr Real kAligner =
      std::is_same_v<Real, float> ? static_cast<Real>(0x1.8p23) : static_cast<Real>(0x1.8p52);

  BITFALL_IN_LOOP static Real whole(Real steps) { return (steps + kAligner) - kAligner; }

  BITFALL_IN_LOOP Real steps(float value) const {
    Real steps = static_cast<Real>(value) * to_steps;
    steps = steps == steps ? steps : Real{0};
    steps = steps < lowest ? lowest : steps;
    return steps > highest ? highest : steps;
  }
  BITFALL_IN_LOOP std::uint32_t code(Real steps) const {
    using Word = std::conditional_t<std::is_same_v<Real, float>, std::uint32_t, std::uint64_t>;
    return static_cast<std::uint32_t>(std::bit_cast<Word>(steps + kAligner)) & mask;
  }
  BITFALL_IN_LOOP std::uint32_t encode(float value) const { return code(steps(value)); }

  // Up with a probability that is the fraction cut off.
  BITFALL_IN_LOOP std::uint32_t encode(float value, std::uint32_t random) const {
    const Real exact = steps(value);
    const Real nearest = whole(exact);
    const Real below = nearest > exact ? nearest - 1 : nearest;
    const bool up = random * 0x1p-32 < static_cast<double>(exact - below);
    return code(below + (up ? Real{1} : Real{0}));
  }
  BITFALL_IN_LOOP float decode(std::uint32_t code) const {
    const auto number = static_cast<std::int32_t>(code << sign_shift) >> sign_shift;
    return static_cast<float>(number) * step;
  }
  BITFALL_IN_LOOP float round(float value) const {
    return static_cast<float>(whole(steps(value))) * step;
  }
};

using Narrow = FixedCodec<float>;
using Wide = FixedCodec<double>;

// The codecs are passed by value: in a local variable they stay in registers.
BITFALL_VECTOR_LOOP void encode_all(Narrow codec, const float* values, std::uint32_t* codes,
                                    std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) codes[i] = codec.encode(values[i]);
}

BITFALL_VECTOR_LOOP void encode_all(Wide codec, const float* values, std::uint32_t* codes,
                                    std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) codes[i] = codec.encode(values[i]);
}

BITFALL_VECTOR_LOOP void decode_all(Narrow codec, const std::uint32_t* codes, float* values,
                                    std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.decode(codes[i]);
}

BITFALL_VECTOR_LOOP void round_all(Narrow codec, float* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.round(values[i]);
}

BITFALL_VECTOR_LOOP void round_all(Wide codec, float* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) values[i] = codec.round(values[i]);
}

class Fixed final : public NumberFormat {
 public:
  Fixed(int integer_bits, int fraction_bits, const Rounding& rounding)
      : bits_(1 + integer_bits + fraction_bits),
        fraction_bits_(fraction_bits),
        narrow_(bits_, fraction_bits),
        wide_(bits_, fraction_bits),
        rounding_(rounding) {
    classes_.fill(BitClass::kMantissa);
    classes_[static_cast<std::size_t>(bits_ - 1)] = BitClass::kSign;
    payload_ = {"payload", bits_, std::span(classes_).first(static_cast<std::size_t>(bits_))};
  }
  Fixed(const Fixed&) = delete;
  Fixed& operator=(const Fixed&) = delete;

  View<const Register> registers() const override { return {&payload_, 1}; }

  void encode(View<const float> values, const Slice& slice, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    if (rounding_.stochastic) return encode_drawn(values, slice, codes);
    if (bits_ > kFloatBits) return encode_all(wide_, values.data(), codes.data(), values.size());
    encode_all(narrow_, values.data(), codes.data(), values.size());
  }

  /// Codes above 2^24 are rounded to float32.
  void decode(View<const std::uint32_t> codes, const Slice&, View<const std::uint32_t>,
              View<float> values) const override {
    decode_all(narrow_, codes.data(), values.data(), codes.size());
  }

  void emulate(View<float> values, const Slice& slice,
               View<std::uint32_t> metadata) const override {
    if (rounding_.stochastic) return NumberFormat::emulate(values, slice, metadata);
    if (bits_ > kFloatBits) return round_all(wide_, values.data(), values.size());
    round_all(narrow_, values.data(), values.size());
  }

  float largest(View<const std::uint32_t>) const override {
    return std::ldexp(1.0f, bits_ - 1 - fraction_bits_);
  }

  FormatTraits traits() const override {
    return {std::ldexp(1.0, bits_ - 1 - fraction_bits_),
            0,
            std::ldexp(1.0, -fraction_bits_),
            "saturates",
            "0",
            "APyTypes"};
  }

 private:
  void encode_drawn(View<const float> values, const Slice& slice,
                    View<std::uint32_t> codes) const {
    const Wide codec = wide_;
    const std::uint64_t key = rounding_.stream_key(slice);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::int64_t element = slice.first + static_cast<std::int64_t>(i) * slice.stride;
      codes[i] = codec.encode(values[i], rounding_bits(key, element));
    }
  }

  int bits_;
  int fraction_bits_;
  Narrow narrow_;
  Wide wide_;
  Rounding rounding_;
  std::array<BitClass, 32> classes_{};
  Register payload_{};
};

constexpr OptionSpec kOptions[] = {
    {"integer_bits", OptionType::kInteger, "7", 0, 31, nullptr,
     "bits before the binary point, the sign not counted"},
    {"fraction_bits", OptionType::kInteger, "8", 0, 31, nullptr, "bits after the binary point"},
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
