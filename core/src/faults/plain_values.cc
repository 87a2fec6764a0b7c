#include "plain_values.h"

#include <array>
#include <cstring>
#include <limits>

namespace bitfall {

View<const Register> PlainValues::registers() const {
  static constexpr std::array<BitClass, 32> kClasses = [] {
    std::array<BitClass, 32> classes{};
    classes.fill(BitClass::kMantissa);
    for (std::size_t bit = 23; bit < 31; ++bit) classes[bit] = BitClass::kExponent;
    classes[31] = BitClass::kSign;
    return classes;
  }();
  static const std::array<Register, 1> kRegisters = {{{"payload", 32, kClasses}}};
  return kRegisters;
}

void PlainValues::encode(View<const float> values, const Slice&, View<std::uint32_t>,
                         View<std::uint32_t> codes) const {
  if (!values.empty()) std::memcpy(codes.data(), values.data(), values.size_bytes());
}

void PlainValues::decode(View<const std::uint32_t> codes, const Slice&, View<const std::uint32_t>,
                         View<float> values) const {
  if (!codes.empty()) std::memcpy(values.data(), codes.data(), codes.size_bytes());
}

float PlainValues::largest(View<const std::uint32_t>) const {
  return std::numeric_limits<float>::max();
}

}  // namespace bitfall
