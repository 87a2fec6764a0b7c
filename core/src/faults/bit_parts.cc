#include "bit_parts.h"

#include <algorithm>
#include <bit>
#include <string>

#include "value_classes.h"

namespace bitfall {
namespace {

constexpr int kNarrow = 8;  // bits of a payload whose mantissa is taken bit by bit

}  // namespace

std::vector<BitRange> bit_parts(std::span<const NumberFormat* const> formats) {
  std::size_t widest = 0;
  for (const NumberFormat* format : formats) {
    widest = std::max(widest, static_cast<std::size_t>(format->registers()[0].bits));
  }
  std::vector<bool> starts(widest + 1, false);  // whether a part begins at the bit
  for (const NumberFormat* format : formats) {
    const Register& kind = format->registers()[0];
    starts[static_cast<std::size_t>(kind.bits)] = true;
    unsigned below = 0;  // bits of a mantissa from its highest one
    for (int bit = kind.bits - 1; bit >= 0; --bit) {
      const auto place = static_cast<std::size_t>(bit);
      const bool mantissa = kind.bit_classes[place] == BitClass::kMantissa;
      below = mantissa && kind.bits > kNarrow ? below + 1 : 0;
      // The last of 1, 1, 2, 4, ... or no mantissa.
      if (below == 0 || std::has_single_bit(below)) starts[place] = true;
      if (below == 0) starts[place + 1] = true;
    }
  }
  std::vector<BitRange> parts;
  for (std::size_t bit = 0; bit < widest; ++bit) {
    if (bit == 0 || starts[bit]) parts.push_back({static_cast<int>(bit), static_cast<int>(bit)});
    parts.back().last = static_cast<int>(bit);
  }
  return parts;
}

std::vector<FaultPart> parts_by_values(std::span<const NumberFormat* const> formats) {
  const auto tells = [](const NumberFormat* format, int bit) {
    const Register& kind = format->registers()[0];
    if (bit >= kind.bits) return false;
    return kind.bits <= kNarrow ||
           kind.bit_classes[static_cast<std::size_t>(bit)] != BitClass::kMantissa;
  };
  std::vector<FaultPart> parts;
  for (const BitRange& bits : bit_parts(formats)) {
    const bool divided = bits.first == bits.last && std::any_of(formats.begin(), formats.end(),
                                                                [&](const NumberFormat* format) {
                                                                  return tells(format, bits.first);
                                                                });
    if (!divided) {
      parts.push_back({bits});
      continue;
    }
    for (int finds = 0; finds < kValueClasses; ++finds) parts.push_back({bits, finds});
  }
  return parts;
}

std::string to_string(const BitRange& bits) {
  return bits.first == bits.last
             ? "bit " + std::to_string(bits.first)
             : "bits " + std::to_string(bits.first) + "-" + std::to_string(bits.last);
}

std::string to_string(const FaultPart& part) {
  const std::string bits = to_string(part.bits);
  return part.by_value() ? bits + " " + value_class_text(part.finds) : bits;
}

}  // namespace bitfall
