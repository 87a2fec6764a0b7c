// A table of numbers out of the files that others write: NumPy's .npy and .npz, .safetensors, and
// PyTorch's .pth and .pt.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace bitfall {

/// float32 [rows, width], row-major: values[row x width + column].
struct EmbeddingTable {
  std::int64_t rows = 0;
  std::int64_t width = 0;
  std::vector<float> values;
  std::vector<std::string> names;  // of the rows, where the file names them; else empty

  std::span<const float> row(std::int64_t index) const {
    return std::span(values).subspan(static_cast<std::size_t>(index * width),
                                     static_cast<std::size_t>(width));
  }
};

/// The tensor with two dimensions in a file; `key` says which, if there are several. Vectors of one
/// width, [width] or [1, width], that stand under names ({"cat": vector, ...}) or in a list are the
/// table's rows; `key` says where, if they are not all that is there. Numbers are
/// float32; float64 is rounded to nearest, float16 and bfloat16 are widened. Nothing in a .pth is
/// executed: objects other than tensors and plain containers are passed over.
/// Throws Error(kInput): "PATH: what is wrong" (damaged, other numbers, no such tensor).
EmbeddingTable read_table(const std::filesystem::path& path, const std::string& key);

}  // namespace bitfall
