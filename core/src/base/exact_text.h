// Numbers as the shortest text that reads back to the same bits.
#pragma once

#include <string>

namespace bitfall {

/// "nan", "inf" and "-inf" for what is not a number of its own.
std::string exact_text(double value);
std::string exact_text(float value);

}  // namespace bitfall
