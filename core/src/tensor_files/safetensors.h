// .safetensors (huggingface/safetensors): 8 bytes of length, a JSON header, the numbers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "stored_tensor.h"

namespace bitfall {

/// The tensors in the order of the header; `content` is the whole file and is borrowed. Every bound
/// is checked. Throws Error(kInput): "PATH: what is wrong".
std::vector<StoredTensor> safetensors(const std::string& path, std::string_view content);

}  // namespace bitfall
