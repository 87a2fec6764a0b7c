// Arithmetic on numbers as Python does it, which a graph of torch.export holds between its operators: sizes that depend
// on the batch.
//
//   _operator.mul(s, 2)   _operator.floordiv(s, 2)   torch.sym_max(s, 4)   math.trunc(q)
#pragma once

#include <ATen/core/ivalue.h>

#include <string>
#include <vector>

namespace bitfall {

/// Numbers and truth values in, one out. Throws std::invalid_argument where Python raises, for
/// another number of operands, and where a result takes more than 64 bits.
using PythonNumber = c10::IValue (*)(const std::vector<c10::IValue>& operands);

/// By the name in the archive; null for what is not arithmetic.
PythonNumber python_number(const std::string& target);

}  // namespace bitfall
