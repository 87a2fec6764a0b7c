#include "torchscript_file.h"

#include <torch/script.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "error.h"
#include "torch_message.h"
#include "torch_runtime.h"
#include "zip_archive.h"

namespace bitfall {

torch::jit::Module load_torchscript(const std::filesystem::path& path, const std::string& device) {
  TorchRuntime::get();  // whatever opens a network comes by here
  const auto refused = [&](const std::string& problem) {
    return Error(ExitCode::kInput, path.string() + ": " + problem);
  };
  std::error_code status;
  if (std::filesystem::is_directory(path, status)) {
    throw refused("is a folder, not a TorchScript file");
  }
  errno = 0;
  if (!std::ifstream(path, std::ios::binary).is_open()) {
    throw refused(std::string("cannot be read: ") + std::strerror(errno ? errno : EIO));
  }
  check_records(path);
  try {
    return torch::jit::load(path.string(), c10::Device(device));
  } catch (const std::exception& error) {
    throw refused("not a readable TorchScript model: " + torch_message(error) +
                  "\n  export one with scripts/export_model.py, or with "
                  "torch.jit.script(model.eval()).save(\"" +
                  path.filename().string() + "\")");
  }
}

}  // namespace bitfall
