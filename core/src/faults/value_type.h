// What a network computes a value in, and which number formats such a value can stand in for.
#pragma once

#include <string>
#include <string_view>

#include "bitfall/number_format.h"

namespace bitfall {

enum class ValueType { kFloat32, kFloat16, kBfloat16, kFloat64 };

/// "float16", as PyTorch names it.
std::string_view to_string(ValueType type);

/// Whether the type holds the number exactly. True for NaN.
bool holds(ValueType type, float number);

/// Why a value of this type cannot hold every number that the format stores; empty if it can. Of a
/// narrow type that is asked of the format, code by code, so that it needs 16 bits at most and a
/// code that means the same everywhere (no scales, no blocks).
std::string misfit(const NumberFormat& format, ValueType type);

}  // namespace bitfall
