// Posits as in the Standard for Posit Arithmetic (2022): es = 2 at every width. From the most
// significant bit down: sign, regime (a run of equal bits and the bit that ends it), two exponent
// bits, fraction; fields that the regime leaves no room for are 0. A negative number is the two's
// complement of its magnitude's code. No Inf; NaR ("not a real") is 100...0.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "bitfall/plugin.h"
#include "vector_loop.h"

namespace bitfall {
namespace {

constexpr int kExponentBits = 2;

struct PositLayout {
  int bits;

  std::uint32_t mask() const { return (1u << bits) - 1; }
  std::uint32_t nar() const { return 1u << (bits - 1); }
  std::uint32_t largest_code() const { return nar() - 1; }
  int largest_exponent() const { return (bits - 2) << kExponentBits; }

  /// Bits below the sign that the regime takes.
  int regime_bits(std::uint32_t code) const {
    const std::uint32_t top = code << (33 - bits);  // the first regime bit becomes bit 31
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
};

// Encoding. Below the regime lie two exponent bits and the fraction: the low 25 bits of a float32,
// its exponent field counted from a multiple of 4. So a code is the regime's code plus those bits,
// rounded at a place that the regime's length says, exponent bits that are cut off included: the
// standard rounds the string of bits to nearest, ties to the even code, and never to 0 or NaR.
constexpr int kTailBits = kExponentBits + 23;
constexpr int kSaturated = 31;  // a place above all of the tail, which then rounds to 0
constexpr int kPlaceShift = 16;

/// By a float32's exponent field: the code with a tail of 0; from bit kPlaceShift on, the place.
using Binades = std::array<std::uint32_t, 256>;

Binades binades_of(const PositLayout& layout) {
  Binades binades;
  const int largest = layout.largest_exponent();
  for (int field = 0; field < 256; ++field) {
    const int power = field - 127;
    std::uint32_t base = power < 0 ? 1 : layout.largest_code();
    int place = kSaturated;
    if (field == 255) base = layout.nar();
    if (power >= -largest && power < largest) {
      const int regime = power >> kExponentBits;  // rounds down
      const int run = regime >= 0 ? regime + 1 : -regime;
      const int left = layout.bits - 2 - run;  // bits for exponent and fraction
      base = (regime >= 0 ? (2u << run) - 2 : 1u) << left;
      place = kTailBits - left;
    }
    binades[static_cast<std::size_t>(field)] = base | static_cast<std::uint32_t>(place)
                                                          << kPlaceShift;
  }
  return binades;
}

// Free of branches on the value; the arguments are plain so that it vectorises.
BITFALL_VECTOR_LOOP void encode_all(const std::uint32_t* __restrict binades, std::uint32_t mask,
                                    const float* __restrict values, std::uint32_t* __restrict codes,
                                    std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(values[i]);
    const std::uint32_t magnitude = bits & 0x7FFFFFFF;
    const std::uint32_t binade = binades[magnitude >> 23];
    const std::uint32_t base = binade & ((1u << kPlaceShift) - 1);
    const std::uint32_t place = binade >> kPlaceShift;
    const std::uint32_t tail = (magnitude + 0x00800000) & ((1u << kTailBits) - 1);
    const std::uint32_t odd = (base + (tail >> place)) & 1;
    const std::uint32_t below_half = (1u << (place - 1)) - 1;
    std::uint32_t code = base + ((tail + below_half + odd) >> place);
    code = magnitude == 0 ? 0 : code;
    const std::uint32_t negative = 0 - (bits >> 31);
    codes[i] = ((code ^ negative) - negative) & mask;  // of NaR: NaR
  }
}

class Posit final : public NumberFormat {
 public:
  explicit Posit(int bits)
      : layout_{bits}, values_(std::size_t{1} << bits), binades_(binades_of(layout_)) {
    for (std::size_t code = 0; code < values_.size(); ++code) {
      values_[code] = static_cast<float>(layout_.decode(static_cast<std::uint32_t>(code)));
    }
    classes_.fill(BitClass::kRegime);
    classes_[static_cast<std::size_t>(bits - 1)] = BitClass::kSign;
    payload_ = {"payload", bits, std::span(classes_).first(static_cast<std::size_t>(bits))};
  }
  Posit(const Posit&) = delete;
  Posit& operator=(const Posit&) = delete;

  View<const Register> registers() const override { return {&payload_, 1}; }

  /// The sign, the regime with the bit that ends it, up to two exponent bits, the fraction: fields
  /// of the code as it stands, as in the standard's formula, also where it is negative.
  BitClass bit_class(std::uint32_t code, int bit) const override {
    if (bit == layout_.bits - 1) return BitClass::kSign;
    const int from_regime = layout_.bits - 2 - bit - layout_.regime_bits(code);
    if (from_regime < 0) return BitClass::kRegime;
    return from_regime < kExponentBits ? BitClass::kExponent : BitClass::kMantissa;
  }

  void encode(View<const float> values, const Slice&, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    encode_all(binades_.data(), layout_.mask(), values.data(), codes.data(), values.size());
  }

  void decode(View<const std::uint32_t> codes, const Slice&, View<const std::uint32_t>,
              View<float> values) const override {
    for (std::size_t i = 0; i < codes.size(); ++i) values[i] = values_[codes[i] & layout_.mask()];
  }

  void emulate(View<float> values, const Slice&, View<std::uint32_t>) const override {
    std::array<std::uint32_t, 1024> codes;  // a part that stays in the first-level cache
    for (std::size_t at = 0; at < values.size(); at += codes.size()) {
      const std::size_t count = std::min(codes.size(), values.size() - at);
      encode_all(binades_.data(), layout_.mask(), values.data() + at, codes.data(), count);
      for (std::size_t i = 0; i < count; ++i) values[at + i] = values_[codes[i]];
    }
  }

  float largest(View<const std::uint32_t>) const override {
    return values_[layout_.largest_code()];
  }

  FormatTraits traits() const override {
    return {values_[layout_.largest_code()], 0,     values_[1],
            "saturates; Inf becomes NaN",    "NaN", "SoftPosit"};
  }

 private:
  PositLayout layout_;
  std::vector<float> values_;  // by code
  Binades binades_;
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
