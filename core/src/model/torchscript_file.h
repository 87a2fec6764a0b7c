// Opening a TorchScript file.
#pragma once

#include <filesystem>
#include <string>

namespace torch::jit {
struct Module;
}

namespace bitfall {

/// Throws Error(kInput) where the file is a torch.export archive: for what changes a network, which takes
/// TorchScript.
void require_torchscript(const std::filesystem::path& path);

/// The module, its tensors on `device` ("cpu", "cuda:0"). Throws Error(kInput) naming the file
/// where it is missing, not a file, not TorchScript or damaged.
torch::jit::Module load_torchscript(const std::filesystem::path& path, const std::string& device);

}  // namespace bitfall
