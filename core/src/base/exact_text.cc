#include "exact_text.h"

#include <array>
#include <charconv>
#include <cmath>

namespace bitfall {
namespace {

template <typename Number>
std::string shortest(Number value) {
  if (std::isnan(value)) return "nan";
  std::array<char, 32> text;
  const auto result = std::to_chars(text.data(), text.data() + text.size(), value);
  return std::string(text.data(), result.ptr);
}

}  // namespace

std::string exact_text(double value) { return shortest(value); }
std::string exact_text(float value) { return shortest(value); }

}  // namespace bitfall
