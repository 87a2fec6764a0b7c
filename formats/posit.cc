// Posits as in the Standard for Posit Arithmetic (2022): es = 2 at every width. From the most
// significant bit down: sign, regime (a run of equal bits and the bit that ends it), two exponent
// bits, fraction; fields that the regime leaves no room for are 0. A negative number is the two's
// complement of its magnitude's code. No Inf; NaR ("not a real") is 100...0.
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "bitfall/plugin.h"

namespace bitfall {
namespace {

constexpr int kExponentBits = 2;

struct PositLayout {
  int bits;

  std::uint32_t mask() const { return (1u << bits) - 1; }
  std::uint32_t nar() const { return 1u << (bits - 1); }
  std::uint32_t largest_code() const { return nar() - 1; }
  int largest_exponent() const { return (bits - 2) << kExponentBits; }

  /// Bits below the sign that the regime takes in a magnitude's code.
  int regime_bits(std::uint32_t magnitude) const {
    const std::uint32_t top = magnitude << (33 - bits);  // the first regime bit becomes bit 31
    const int run = top >> 31 ? std::countl_one(top) : std::countl_zero(top);
    return run + 1 < bits ? run + 1 : bits - 1;
  }

  double decode(std::uint32_t code) const {
    if (code == 0) return 0;
    if (code == nar()) return std::numeric_limits<double>::quiet_NaN();
    const bool negative = (code & nar()) != 0;
    const std::uint32_t magnitude = negative ? (0 - code) & mask() : code;
    const int regime = regime_bits(magnitude);
    const bool ones = (magnitude >> (bits - 2) & 1) != 0;
    // A run of m ones stands for m - 1, of m zeros for -m; only the code of the largest number (all
    // ones) has no bit that ends it.
    const bool unended = magnitude == largest_code();
    const int run = unended ? regime : regime - 1;
    const int power = ones ? run - 1 : -run;
    const int left = bits - 1 - regime;  // bits for exponent and fraction
    const std::uint32_t rest = magnitude & ((1u << left) - 1);
    const int exponent_here = left < kExponentBits ? left : kExponentBits;
    const std::uint32_t exponent = rest >> (left - exponent_here)
                                               << (kExponentBits - exponent_here);
    const int fraction_bits = left - exponent_here;
    const std::uint32_t fraction = rest & ((1u << fraction_bits) - 1);
    const double significand = 1 + std::ldexp(fraction, -fraction_bits);
    const double value =
        std::ldexp(significand, (power << kExponentBits) + static_cast<int>(exponent));
    return negative ? -value : value;
  }

  /// The standard's rounding: the exact number's bit string is rounded to nearest, ties to the even
  /// code, but never to 0 or NaR.
  std::uint32_t encode(float value) const {
    if (value == 0) return 0;
    if (!std::isfinite(value)) return nar();
    int exponent = 0;
    const float significand = std::frexp(std::fabs(value), &exponent);  // in [1/2, 1)
    const int power = exponent - 1;
    std::uint32_t code = 0;
    if (power >= largest_exponent()) {
      code = largest_code();
    } else if (power < -largest_exponent()) {
      code = 1;
    } else {
      // regime | exponent | fraction, left-aligned in 64 bits below the sign.
      const int regime = power >> kExponentBits;  // rounds down
      const auto low = static_cast<std::uint64_t>(power - (regime << kExponentBits));
      const auto fraction =
          static_cast<std::uint64_t>(std::ldexp(significand, 24)) & ((1u << 23) - 1);
      const std::uint64_t tail = (low << 23 | fraction) << (64 - 23 - kExponentBits);
      const int run = regime >= 0 ? regime + 1 : -regime;
      const std::uint64_t head =
          regime >= 0 ? ~(~std::uint64_t{0} >> run) : std::uint64_t{1} << (63 - run);
      const std::uint64_t string = head | tail >> (run + 1);
      const std::uint64_t lost = tail << (63 - run);  // below the 64: at most a sticky bit
      const int cut = 64 - (bits - 1);
      code = static_cast<std::uint32_t>(string >> cut);
      const std::uint64_t half = std::uint64_t{1} << (cut - 1);
      const std::uint64_t remainder = string & ((half << 1) - 1);
      const bool above = remainder > half || (remainder == half && lost != 0);
      if (above || (remainder == half && (code & 1) != 0)) ++code;
      if (code == 0) code = 1;
      if (code > largest_code()) code = largest_code();
    }
    return std::signbit(value) ? (0 - code) & mask() : code;
  }
};

class Posit final : public NumberFormat {
 public:
  explicit Posit(int bits) : layout_{bits}, values_(std::size_t{1} << bits) {
    for (std::size_t code = 0; code < values_.size(); ++code) {
      values_[code] = static_cast<float>(layout_.decode(static_cast<std::uint32_t>(code)));
    }
    classes_.fill(BitClass::kRegime);
    classes_[static_cast<std::size_t>(bits - 1)] = BitClass::kSign;
    payload_ = {"payload", bits, std::span(classes_).first(static_cast<std::size_t>(bits))};
    fill_buckets();
  }
  Posit(const Posit&) = delete;
  Posit& operator=(const Posit&) = delete;

  std::span<const Register> registers() const override { return {&payload_, 1}; }

  /// The sign, the regime with the bit that ends it, up to two exponent bits, the fraction. Fields
  /// of a negative number are those of its two's complement.
  BitClass bit_class(std::uint32_t code, int bit) const override {
    if (bit == layout_.bits - 1) return BitClass::kSign;
    const bool negative = (code & layout_.nar()) != 0;
    const std::uint32_t magnitude = negative ? (0 - code) & layout_.mask() : code;
    const int from_top = layout_.bits - 2 - bit - layout_.regime_bits(magnitude);
    if (from_top < 0) return BitClass::kRegime;
    return from_top < kExponentBits ? BitClass::kExponent : BitClass::kMantissa;
  }

  void encode(std::span<const float> values, const Slice&, std::span<std::uint32_t>,
              std::span<std::uint32_t> codes) const override {
    for (std::size_t i = 0; i < values.size(); ++i) codes[i] = encode_fast(values[i]);
  }

  void decode(std::span<const std::uint32_t> codes, const Slice&, std::span<const std::uint32_t>,
              std::span<float> values) const override {
    for (std::size_t i = 0; i < codes.size(); ++i) values[i] = values_[codes[i] & layout_.mask()];
  }

  void emulate(std::span<float> values, const Slice&, std::span<std::uint32_t>) const override {
    for (float& value : values) value = values_[encode_fast(value)];
  }

  float largest(std::span<const std::uint32_t>) const override {
    return values_[layout_.largest_code()];
  }

  FormatTraits traits() const override {
    return {values_[layout_.largest_code()], 0,     values_[1],
            "saturates; Inf becomes NaN",    "NaN", "exact rationals in Python"};
  }

 private:
  /// How to encode the magnitudes of one binade: the code is a linear function of the float's bits
  /// there, rounded to nearest even at a fixed place.
  struct Bucket {
    std::uint64_t base = 0;  // code << shift of the binade's first number
    int shift = 0;           // 0: every magnitude of the binade has the code `base`
  };

  // Within a binade the regime and the exponent are fixed, so that the float's fraction lies behind
  // them as it is; where they are cut off themselves, rounding is done by the slow path once.
  void fill_buckets() {
    for (int field = 0; field < 255; ++field) {
      const int power = field - 127;
      Bucket& bucket = buckets_[static_cast<std::size_t>(field)];
      if (field == 0 || power < -layout_.largest_exponent() ||
          power >= layout_.largest_exponent()) {
        bucket.base = power < 0 ? 1 : layout_.largest_code();
        continue;
      }
      const int regime = power >> kExponentBits;
      const int run = regime >= 0 ? regime + 1 : -regime;
      const int left = layout_.bits - 1 - (run + 1) - kExponentBits;  // fraction bits, may be < 0
      if (left < 0) {
        bucket.shift = kSlow;
        continue;
      }
      bucket.shift = 23 - left;
      bucket.base = std::uint64_t{layout_.encode(std::ldexp(1.0f, power))} << bucket.shift;
    }
    buckets_[255] = {layout_.nar(), 0};
  }

  std::uint32_t encode_fast(float value) const {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = bits & 0x7FFFFFFF;
    if (magnitude == 0) return 0;
    const Bucket& bucket = buckets_[magnitude >> 23];
    if (bucket.shift == kSlow) return layout_.encode(value);
    auto code = static_cast<std::uint32_t>(bucket.base);
    if (bucket.shift > 0) {
      const std::uint64_t exact = bucket.base + (magnitude & 0x7FFFFF);
      const std::uint64_t half_to_even =
          (std::uint64_t{1} << (bucket.shift - 1)) - 1 + (exact >> bucket.shift & 1);
      code = static_cast<std::uint32_t>((exact + half_to_even) >> bucket.shift);
    }
    const bool negative = bits >> 31 != 0 && code != layout_.nar();
    return negative ? (0 - code) & layout_.mask() : code;
  }

  static constexpr int kSlow = -1;

  PositLayout layout_;
  std::vector<float> values_;  // by code
  std::array<Bucket, 256> buckets_{};
  std::array<BitClass, 16> classes_{};
  Register payload_{};
};

constexpr Component<NumberFormat> kFormats[] = {
    {"posit8",
     "8-bit posit of the 2022 standard (2 exponent bits): tapered precision, 2^-24 to 2^24",
     {},
     [](const Options&) -> NumberFormat* { return new Posit(8); }},
    {"posit16",
     "16-bit posit of the 2022 standard (2 exponent bits): tapered precision, 2^-56 to 2^56",
     {},
     [](const Options&) -> NumberFormat* { return new Posit(16); }},
};

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("formats_posit", "1.0", "Posits of the 2022 standard",
               [](bitfall::Registrar& registrar) {
                 for (const auto& format : bitfall::kFormats) registrar.add(format);
               });
