// How shapes are told.
#pragma once

#include <c10/util/ArrayRef.h>

#include <cstdint>
#include <string>

namespace bitfall {

/// "8x3x32x32"; "scalar" without dimensions.
inline std::string shape_text(c10::IntArrayRef shape) {
  std::string text;
  for (const auto extent : shape) text += (text.empty() ? "" : "x") + std::to_string(extent);
  return text.empty() ? "scalar" : text;
}

}  // namespace bitfall
