// The one codec of all floating-point formats of 32 bits or fewer that are made of a sign, an
// exponent and a fraction: the IEEE-like formats and the elements of block formats.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "vector_loop.h"

namespace bitfall {

/// Which codes stand for no number.
enum class Specials {
  kIeee,     // the top exponent: Inf (fraction 0) and NaN. IEEE 754-2019, section 3.4
  kNanOnly,  // exponent and fraction all ones: NaN; no Inf. OCP 8-bit floating point, E4M3
  kFnuz,     // the code of -0: NaN; no Inf, no -0. Noune et al., arXiv 2206.02915
  kNone,     // every code is a number. OCP Microscaling formats, FP6 and FP4
};

/// What becomes of magnitudes that round to more than the largest number, Inf among them.
enum class Overflow { kInf, kNan, kSaturate };

/// A format's facts; the rest follows. From the most significant bit down: sign, exponent field,
/// fraction. An exponent field of 0 means a subnormal.
struct FloatLayout {
  int exponent_bits;  // 1 to 8
  int mantissa_bits;  // 0 to 23
  int bias;           // of the exponent field
  Specials specials = Specials::kIeee;
  Overflow overflow = Overflow::kInf;
  bool subnormals = true;  // false: numbers that round below the smallest normal become 0

  constexpr bool operator==(const FloatLayout&) const = default;

  constexpr int bits() const { return 1 + exponent_bits + mantissa_bits; }
  constexpr std::int32_t sign_bit() const { return static_cast<std::int32_t>(1u << (bits() - 1)); }
  constexpr std::int32_t magnitude_mask() const {
    return static_cast<std::int32_t>((1u << (bits() - 1)) - 1);
  }
  /// Of an IEEE-like layout: the code of Inf, and the bit that makes a NaN quiet.
  constexpr std::int32_t infinity() const { return ((1 << exponent_bits) - 1) << mantissa_bits; }
  constexpr std::int32_t quiet_bit() const { return (1 << mantissa_bits) >> 1; }
  constexpr std::int32_t smallest_normal_code() const { return 1 << mantissa_bits; }
  constexpr std::int32_t largest_code() const {
    if (specials == Specials::kIeee) return infinity() - 1;
    return specials == Specials::kNanOnly ? magnitude_mask() - 1 : magnitude_mask();
  }
  constexpr bool has_normals() const { return largest_code() >= smallest_normal_code(); }
  /// The exponent of the largest number's binade, and of the last place of subnormals.
  constexpr int largest_exponent() const {
    return std::max(largest_code() >> mantissa_bits, 1) - bias;
  }
  constexpr int step_exponent() const { return 1 - bias - mantissa_bits; }

  /// The number that a code below the special ones stands for, without sign.
  double value(std::int32_t code) const {
    const int field = code >> mantissa_bits;
    const int fraction = code & (smallest_normal_code() - 1);
    if (field == 0) return subnormals ? std::ldexp(fraction, step_exponent()) : 0.0;
    return std::ldexp(smallest_normal_code() + fraction, field - 1 + step_exponent());
  }
  double largest() const { return value(largest_code()); }
  double smallest_normal() const { return has_normals() ? std::ldexp(1.0, 1 - bias) : 0.0; }
  double smallest() const {
    return subnormals && mantissa_bits > 0 ? value(1) : value(smallest_normal_code());
  }

  /// Throws std::invalid_argument unless every code is exact in float32 and the special codes
  /// exist.
  void check() const {
    if (specials == Specials::kIeee && mantissa_bits == 0) {
      throw std::invalid_argument(
          "mantissa_bits: 0 leaves no code for NaN next to Inf; allowed: 1 to 23 with "
          "inf_nan = \"ieee\"");
    }
    if (specials != Specials::kIeee && overflow == Overflow::kInf) {
      throw std::invalid_argument(
          "overflow: \"inf\" needs codes for Inf; allowed: inf with inf_nan = \"ieee\"");
    }
    if (specials == Specials::kNone && overflow == Overflow::kNan) {
      throw std::invalid_argument(
          "overflow: \"nan\" needs a code for NaN; allowed: \"saturate\" with inf_nan = \"none\"");
    }
    if (largest_code() == 0 || (!subnormals && !has_normals())) {
      throw std::invalid_argument(
          "exponent_bits: " + std::to_string(exponent_bits) +
          " leaves no number but 0 with these mantissa_bits, inf_nan and subnormals; allowed: 2 "
          "to 8");
    }
    const int lowest = largest_exponent() + bias - 127;
    const int highest = 150 - mantissa_bits;
    if (bias < lowest || bias > highest) {
      throw std::invalid_argument(
          "bias: " + std::to_string(bias) +
          " gives numbers that float32 does not have; allowed: " + std::to_string(lowest) + " to " +
          std::to_string(highest) + " with these exponent_bits, mantissa_bits and inf_nan");
    }
  }
};

inline constexpr FloatLayout kBinary32{8, 23, 127};

/// The arithmetic that a codec works in: float for speed, double where a format's numbers lie so
/// far up or down that float has no room around them.
template <typename Real>
struct BinaryReal;
template <>
struct BinaryReal<float> {
  using Word = std::uint32_t;
  using SignedWord = std::int32_t;
  static constexpr int kMantissaBits = 23;
  static constexpr int kBias = 127;
};
template <>
struct BinaryReal<double> {
  using Word = std::uint64_t;
  using SignedWord = std::int64_t;
  static constexpr int kMantissaBits = 52;
  static constexpr int kBias = 1023;
};

/// Converts single values. All methods are free of branches on the value, so that loops over them
/// vectorise; copy the codec into a local variable before such a loop.
template <typename Real>
class FloatCodec {
  using Word = typename BinaryReal<Real>::Word;
  using SignedWord = typename BinaryReal<Real>::SignedWord;
  static constexpr int kMantissaBits = BinaryReal<Real>::kMantissaBits;
  static constexpr int kBias = BinaryReal<Real>::kBias;
  static constexpr std::int32_t kInfinity = 0x7F800000;
  static constexpr std::int32_t kQuietNan = 0x7FC00000;

 public:
  /// False where only FloatCodec<double> serves.
  static bool serves(const FloatLayout& layout) {
    const int dropped = kMantissaBits - layout.mantissa_bits;
    return layout.bias <= kBias && layout.bias >= dropped + 1 - kBias;
  }

  /// The layout must pass check() and serves().
  explicit FloatCodec(const FloatLayout& layout)
      : dropped_(kMantissaBits - layout.mantissa_bits),
        float_dropped_(kBinary32.mantissa_bits - layout.mantissa_bits),
        sign_shift_(32 - layout.bits()),
        tie_(dropped_ > 0 ? 1 : 0),
        below_half_(dropped_ > 0 ? (Word{1} << (dropped_ - 1)) - 1 : 0),
        kept_(~((Word{1} << dropped_) - 1)),
        drawn_((1u << float_dropped_) - 1),
        rebias_(static_cast<Word>(kBias - layout.bias) << kMantissaBits),
        smallest_normal_(static_cast<SignedWord>(rebias_ + (Word{1} << kMantissaBits))),
        aligner_(static_cast<SignedWord>(static_cast<Word>(smallest_normal_) +
                                         (static_cast<Word>(dropped_) << kMantissaBits))),
        to_steps_{static_cast<Real>(std::ldexp(1.0, -layout.step_exponent() / 2)),
                  static_cast<Real>(
                      std::ldexp(1.0, -layout.step_exponent() - -layout.step_exponent() / 2))},
        first_normal_code_(layout.smallest_normal_code()),
        first_kept_code_(layout.subnormals ? 0 : first_normal_code_),
        first_kept_(layout.subnormals ? 0 : smallest_normal_),
        largest_code_(layout.largest_code()),
        largest_bits_(float_bits(static_cast<float>(layout.largest()))),
        code_mask_(static_cast<std::int32_t>(~0u >> sign_shift_)),
        magnitude_mask_(layout.magnitude_mask()) {
    const bool ieee = layout.specials == Specials::kIeee;
    const bool none = layout.specials == Specials::kNone;
    const bool fnuz = layout.specials == Specials::kFnuz;
    const std::int32_t ones = magnitude_mask_;
    nan_code_ = ieee   ? layout.infinity() | layout.quiet_bit()
                : none ? largest_code_
                : fnuz ? layout.sign_bit()
                       : ones;
    const std::int32_t only_nan =
        kQuietNan | static_cast<std::int32_t>(static_cast<std::uint32_t>(ones) << float_dropped_);
    const std::int32_t decoded_nan = ieee || fnuz ? kQuietNan : only_nan;
    nan_bits_ = none ? largest_bits_ : decoded_nan;
    nan_payload_ = ieee ? static_cast<std::int32_t>(0x7FFFFFFFu & ~drawn_) : 0;
    nan_sign_ = none || fnuz ? 0 : ~0;
    zero_sign_ = fnuz ? 0 : ~0;
    first_special_code_ = ieee ? layout.infinity() : none || fnuz ? kNever : ones;
    special_bits_ = ieee ? kInfinity : kQuietNan;
    zero_nan_code_ = fnuz ? layout.sign_bit() : kNever;
    switch (layout.overflow) {
      case Overflow::kInf:
        overflow_code_ = layout.infinity();
        overflow_bits_ = kInfinity;
        break;
      case Overflow::kNan:
        overflow_code_ = nan_code_;
        overflow_bits_ = decoded_nan;
        break;
      case Overflow::kSaturate:
        overflow_code_ = largest_code_;
        overflow_bits_ = largest_bits_;
        break;
    }
  }

  /// Rounds to nearest, ties to the even code. An IEEE-like NaN keeps its sign and the upper bits
  /// of its payload and becomes quiet, so that it stays a NaN; a NaN without a code becomes the
  /// largest positive number.
  BITFALL_IN_LOOP std::uint32_t encode(float value) const {
    const std::int32_t magnitude = float_bits(value) & 0x7FFFFFFF;
    const Real real = std::bit_cast<float>(magnitude);
    // A carry out of the fraction lands in the exponent, where it is right. (Unsigned, as what is
    // not selected may wrap.)
    const Word rebiased = std::bit_cast<Word>(real) - rebias_;
    const Word rounded = rebiased + below_half_ + (rebiased >> dropped_ & tie_);
    const auto normal = static_cast<std::int32_t>(rounded >> dropped_);
    // Below the smallest normal: adding a number whose last place is the format's smallest
    // subnormal makes the hardware round there.
    const Real aligned = real + std::bit_cast<Real>(aligner_);
    const auto subnormal = static_cast<std::int32_t>(std::bit_cast<SignedWord>(aligned) - aligner_);
    return finish(value, is_subnormal(real) ? subnormal : normal);
  }

  /// Rounds up with a probability that is the fraction cut off; `random` is 32 uniform bits.
  /// Numbers that the format has stay as they are.
  BITFALL_IN_LOOP std::uint32_t encode(float value, std::uint32_t random) const {
    const std::int32_t magnitude = float_bits(value) & 0x7FFFFFFF;
    const Real real = std::bit_cast<float>(magnitude);
    constexpr int kBelowFloat = kMantissaBits - kBinary32.mantissa_bits;
    const Word draw = static_cast<Word>(random & drawn_) << kBelowFloat;
    const auto normal =
        static_cast<std::int32_t>((std::bit_cast<Word>(real) - rebias_ + draw) >> dropped_);
    const Real steps = is_subnormal(real) ? real * to_steps_[0] * to_steps_[1] : Real{0};
    const auto whole = static_cast<std::int32_t>(steps);
    const Real threshold =
        static_cast<Real>(static_cast<std::int32_t>(random >> 8)) * Real{0x1p-24};
    const std::int32_t subnormal = whole + (threshold < steps - static_cast<Real>(whole) ? 1 : 0);
    return finish(value, is_subnormal(real) ? subnormal : normal);
  }

  /// Exact. Bits above the format's width are ignored; an IEEE-like NaN keeps all its bits.
  BITFALL_IN_LOOP float decode(std::uint32_t word) const {
    const auto code = static_cast<std::int32_t>(word) & code_mask_;
    const std::int32_t magnitude = code & magnitude_mask_;
    const Real normal = std::bit_cast<Real>((static_cast<Word>(magnitude) << dropped_) + rebias_);
    // The inverse of what encode() does there.
    const Real aligner = std::bit_cast<Real>(aligner_);
    const auto aligned = static_cast<Word>(aligner_) + static_cast<Word>(magnitude);
    const Real subnormal = std::bit_cast<Real>(aligned) - aligner;
    Real real = magnitude < first_normal_code_ ? subnormal : normal;
    real = magnitude < first_kept_code_ ? Real{0} : real;
    const std::int32_t number = float_bits(static_cast<float>(real));
    const std::int32_t special =
        static_cast<std::int32_t>(static_cast<std::uint32_t>(magnitude) << float_dropped_) |
        special_bits_;
    std::int32_t bits = magnitude >= first_special_code_ ? special : number;
    std::uint32_t sign = word << sign_shift_ & 0x80000000u;
    sign &= static_cast<std::uint32_t>(bits == 0 ? zero_sign_ : ~0);
    const bool zero_nan = code == zero_nan_code_;
    bits = zero_nan ? kQuietNan : bits;
    sign = zero_nan ? 0 : sign;
    return std::bit_cast<float>(sign | static_cast<std::uint32_t>(bits));
  }

  /// decode(encode(value)), bit for bit, without the code.
  BITFALL_IN_LOOP float round(float value) const {
    const std::int32_t magnitude = float_bits(value) & 0x7FFFFFFF;
    const Real real = std::bit_cast<float>(magnitude);
    const Word real_bits = std::bit_cast<Word>(real);
    const Word odd = (real_bits - rebias_) >> dropped_ & tie_;
    const Real normal = std::bit_cast<Real>((real_bits + below_half_ + odd) & kept_);
    const Real aligner = std::bit_cast<Real>(aligner_);
    const Real subnormal = (real + aligner) - aligner;
    Real number = is_subnormal(real) ? subnormal : normal;
    number = std::bit_cast<SignedWord>(number) < first_kept_ ? Real{0} : number;
    std::int32_t bits = float_bits(static_cast<float>(number));
    bits = bits > largest_bits_ ? overflow_bits_ : bits;
    const bool nan = magnitude > kInfinity;
    bits = nan ? (magnitude & nan_payload_) | nan_bits_ : bits;
    std::int32_t sign = float_bits(value) & std::numeric_limits<std::int32_t>::min();
    sign &= nan || bits > kInfinity ? nan_sign_ : ~0;
    sign &= bits == 0 ? zero_sign_ : ~0;
    return std::bit_cast<float>(sign | bits);
  }

 private:
  static constexpr std::int32_t kNever = std::numeric_limits<std::int32_t>::max();

  static std::int32_t float_bits(float value) { return std::bit_cast<std::int32_t>(value); }

  BITFALL_IN_LOOP bool is_subnormal(Real magnitude) const {
    return std::bit_cast<SignedWord>(magnitude) < smallest_normal_;
  }

  // The code of a value whose magnitude, if it is a number, rounds to `code`.
  BITFALL_IN_LOOP std::uint32_t finish(float value, std::int32_t code) const {
    const std::int32_t magnitude = float_bits(value) & 0x7FFFFFFF;
    code = code < first_kept_code_ ? 0 : code;
    code = code > largest_code_ ? overflow_code_ : code;
    const bool nan = magnitude > kInfinity;
    code =
        nan ? ((magnitude & nan_payload_) >> float_dropped_ & magnitude_mask_) | nan_code_ : code;
    std::int32_t sign = float_bits(value);
    sign &= nan ? nan_sign_ : ~0;
    sign &= code == 0 ? zero_sign_ : ~0;
    const std::uint32_t sign_bit = (static_cast<std::uint32_t>(sign) & 0x80000000u) >> sign_shift_;
    return sign_bit | static_cast<std::uint32_t>(code);
  }

  int dropped_;        // places of Real below the format's last
  int float_dropped_;  // places of float32 below it
  int sign_shift_;     // from the format's sign to float32's
  Word tie_, below_half_, kept_;
  std::uint32_t drawn_;  // the places of a float32 that stochastic rounding draws against
  Word rebias_;
  SignedWord smallest_normal_, aligner_;
  Real to_steps_[2];  // their product is 1 / the smallest subnormal, which alone may be too large
  std::int32_t first_normal_code_, first_kept_code_;
  SignedWord first_kept_;
  std::int32_t largest_code_, largest_bits_;
  std::int32_t code_mask_, magnitude_mask_;
  std::int32_t overflow_code_, overflow_bits_;
  std::int32_t nan_code_, nan_bits_, nan_payload_, nan_sign_, zero_sign_;
  std::int32_t first_special_code_, special_bits_, zero_nan_code_;
};

}  // namespace bitfall
