#include "value_type.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace bitfall {
namespace {

constexpr int kMostBits = 16;

// A float32 whose last bits are zero, in range; below the smallest normal number, a multiple of the
// smallest number.
bool in_half(float number) {
  if (!std::isfinite(number)) return true;
  if (std::fabs(number) > 65504.0F) return false;
  if (std::fabs(number) < 0x1p-14F)
    return std::ldexp(number, 24) == std::rint(std::ldexp(number, 24));
  return (std::bit_cast<std::uint32_t>(number) & 0x1FFFU) == 0;
}

// Every number that a payload of the format stands for.
std::vector<float> numbers_of(const NumberFormat& format) {
  const std::size_t count = std::size_t{1} << format.registers()[0].bits;
  std::vector<std::uint32_t> codes(count);
  for (std::size_t i = 0; i < count; ++i) codes[i] = static_cast<std::uint32_t>(i);
  std::vector<float> numbers(count);
  const std::vector<std::int64_t> shape = {static_cast<std::int64_t>(count)};
  format.decode(codes, {shape}, {}, numbers);
  return numbers;
}

}  // namespace

std::string_view to_string(ValueType type) {
  switch (type) {
    case ValueType::kFloat16:
      return "float16";
    case ValueType::kBfloat16:
      return "bfloat16";
    case ValueType::kFloat64:
      return "float64";
    case ValueType::kFloat32:
      break;
  }
  return "float32";
}

bool holds(ValueType type, float number) {
  if (std::isnan(number)) return true;
  if (type == ValueType::kFloat16) return in_half(number);
  if (type == ValueType::kBfloat16) return (std::bit_cast<std::uint32_t>(number) & 0xFFFFU) == 0;
  return true;
}

std::string misfit(const NumberFormat& format, ValueType type) {
  if (type == ValueType::kFloat32 || type == ValueType::kFloat64) return "";
  const std::string name(to_string(type));
  const std::string computes = "the network computes it in " + name + ", ";
  if (format.calibrated() || !format.elementwise() || format.registers().size() > 1) {
    return computes + "which does not hold numbers times a scale";
  }
  if (format.registers()[0].bits > kMostBits) {
    return computes + "which does not hold its " + std::to_string(format.registers()[0].bits) +
           " bits";
  }
  for (const float number : numbers_of(format)) {
    if (holds(type, number)) continue;
    char text[32];
    std::snprintf(text, sizeof text, "%g", static_cast<double>(number));
    return computes + "which does not hold its number " + text;
  }
  return "";
}

}  // namespace bitfall
