// A tensor as it lies in a file, before anything is read of its numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

struct StoredTensor {
  std::string name;                   // "" for a file's only tensor
  std::string type;                   // as NumPy and PyTorch call it: "float32", "int64"
  std::vector<std::int64_t> shape;    // each at least 0
  std::vector<std::int64_t> strides;  // in elements, each at least 0
  std::string_view bytes;             // from the first element on; borrowed
};

/// Bytes of a number of this type; 0 if it is none that can be read as float32.
std::size_t float_size(std::string_view type);

/// "[1000, 512]"
std::string shape_text(const std::vector<std::int64_t>& shape);

/// Strides of the row-major order.
std::vector<std::int64_t> row_major(const std::vector<std::int64_t>& shape);

/// Null if every element lies within `bytes`, else a clause that says what does not fit. A tensor
/// must not have more elements than its bytes have numbers (as one expanded over itself would).
/// Only of types with a float_size().
const char* misfit(const StoredTensor& tensor);

/// All elements in row-major order as float32. misfit() must be null.
std::vector<float> read_floats(const StoredTensor& tensor);

}  // namespace bitfall
