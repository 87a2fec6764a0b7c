// What numpy.savez writes: a ZIP archive of .npy files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "stored_tensor.h"

namespace bitfall {

/// The arrays of a .npz file in byte-wise order of their names. `content` is the whole file and is
/// borrowed. Throws Error(kInput): "PATH: what is wrong".
std::vector<StoredTensor> npz_tensors(const std::string& path, std::string_view content);

}  // namespace bitfall
