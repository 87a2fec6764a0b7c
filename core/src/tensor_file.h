// Tensors in the files that others write: NumPy's .npy, .safetensors, and PyTorch's .pth.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "embeddings.h"

namespace bitfall {

/// The [rows, width] tensor of a .npy, .safetensors, .pth or .pt file; `key` says which, if there
/// are several with two dimensions. float32; float64 is rounded, float16 and bfloat16 are widened.
/// Nothing in a .pth is executed: only tensors and plain containers are read.
/// Throws Error(kInput) naming the file: damaged, other types, no such tensor.
EmbeddingTable read_table(const std::filesystem::path& path, const std::string& key);

/// One unit row for each of `classes`, in their order, [classes, width]: read_table, match_rows,
/// unit_rows (embeddings.h), with what they throw and warn of.
EmbeddingTable class_embeddings(const EmbeddingFiles& files, std::span<const std::string> classes);

}  // namespace bitfall
