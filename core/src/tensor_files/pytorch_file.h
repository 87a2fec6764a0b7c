// What torch.save writes: a ZIP archive of a pickle and of the tensors' numbers. Not read by
// LibTorch: its unpickler (2.13) crashes on deeply nested lists and refuses what torch.save makes
// of a module's state_dict.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "stored_tensor.h"

namespace bitfall {

/// The tensors of a .pth file: one, or those of dictionaries, lists and tuples, named by their keys
/// and places with dots between ("model.head.weight"). All else in the file is passed over, and
/// nothing of it executed. `content` is the whole file and is borrowed. Throws Error(kInput):
/// "PATH: what is wrong".
std::vector<StoredTensor> pytorch_tensors(const std::string& path, std::string_view content);

}  // namespace bitfall
