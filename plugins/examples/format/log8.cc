// log8: magnitudes as powers of 2^(1/4), in 8 bits. A fault in the exponent multiplies.
//
//   code   s eeeeeee        sign, exponent e
//   value  0 if e = 0, else (-1)^s 2^((e - 64) / 4): 2^-15.75 to 2^15.75
//
// To the nearest exponent; what is larger saturates, NaN becomes 0.
#include <algorithm>
#include <cmath>

#include "bitfall/plugin.h"

namespace {

using namespace bitfall;

constexpr auto kE = BitClass::kExponent;
constexpr BitClass kBits[] = {kE, kE, kE, kE, kE, kE, kE, BitClass::kSign};  // bit 0 first
constexpr Register kRegisters[] = {{"payload", 8, kBits}};

float magnitude(std::uint32_t e) {
  return e == 0 ? 0 : static_cast<float>(std::exp2((static_cast<double>(e) - 64) / 4));
}

std::uint32_t encoded(float value) {
  if (std::isnan(value)) return 0;
  const std::uint32_t sign = std::signbit(value) ? 0x80 : 0;
  const double e = std::round(4 * std::log2(std::abs(static_cast<double>(value)))) + 64;
  return e < 1 ? sign : sign | static_cast<std::uint32_t>(std::min(e, 127.0));
}

class Log8 final : public NumberFormat {
 public:
  View<const Register> registers() const override { return kRegisters; }

  void encode(View<const float> values, const Slice&, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    for (std::size_t i = 0; i < values.size(); ++i) codes[i] = encoded(values[i]);
  }
  void decode(View<const std::uint32_t> codes, const Slice&, View<const std::uint32_t>,
              View<float> values) const override {
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const float value = magnitude(codes[i] & 0x7f);
      values[i] = (codes[i] & 0x80) != 0 ? -value : value;
    }
  }
  float largest(View<const std::uint32_t>) const override { return magnitude(127); }
  FormatTraits traits() const override {
    return {magnitude(127), magnitude(1), magnitude(1), "saturates", "0", "NumPy"};
  }
};

constexpr Component<NumberFormat> kLog8{
    "log8", "Logarithms in 8 bits: powers of 2^(1/4)", {}, [](const Options&) -> NumberFormat* {
      return new Log8;
    }};

constexpr About kAbout{.name = "log8",
                       .version = "1.0",
                       .summary = "An 8-bit logarithmic number format",
                       .group = nullptr,
                       .licence = nullptr};  // an SPDX expression, such as "Apache-2.0"

}  // namespace

BITFALL_PLUGIN_ABOUT(kAbout, kLog8);
