#include "torchscript_file.h"

#include <caffe2/serialize/inline_container.h>
#include <torch/script.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "error.h"
#include "exported_program.h"
#include "file_kind.h"
#include "outside_operators.h"
#include "text_file.h"
#include "torch_message.h"
#include "torch_runtime.h"
#include "zip_archive.h"

namespace bitfall {
namespace {

// What LibTorch refuses, in words that say what to do. No advice names the file itself: who follows
// it must not overwrite the weights.
std::string told(const std::exception& error) {
  const std::string text = error.what();
  constexpr std::string_view kUnknown = "Unknown builtin op: ";
  if (const auto at = text.find(kUnknown); at != text.npos) {
    const auto start = at + kUnknown.size();
    std::string name = text.substr(start, text.find_first_of(".\n ", start) - start);
    if (name.starts_with("mkldnn") || name.find("Mkldnn") != name.npos ||
        name.find("MKLDNN") != name.npos) {
      return "it was changed by torch.jit.optimize_for_inference (it uses " + name +
             ")\n  save it before that";
    }
    return "it uses the operator " + name +
           ", which PyTorch itself has not\n  name the library that brings it: [model] libraries = "
           "[\"FILE.so\"], or --library";
  }
  if (text.find("mkldnn") != text.npos) {
    return torch_message(error) +
           "\n  it was changed by torch.jit.optimize_for_inference: save it before that";
  }
  return "not a readable TorchScript model: " + torch_message(error) +
         "\n  export one with scripts/export_model.py, or in Python with "
         "torch.jit.script(model.eval()).save(...), under another name than the weights";
}

// Before anything of it runs: loading a module runs its __setstate__. What cannot be read here,
// LibTorch will refuse with its reason.
std::string outside_use_in(const std::filesystem::path& path) {
  try {
    caffe2::serialize::PyTorchStreamReader reader(path.string());
    for (const std::string& name : reader.getAllRecords()) {
      if (!name.starts_with("code/") || !name.ends_with(".py")) continue;
      const auto [data, size] = reader.getRecord(name);
      const std::string use = outside_use({static_cast<const char*>(data.get()), size});
      if (!use.empty()) return use + " of " + name;
    }
  } catch (const std::exception&) {
  }
  return "";
}

}  // namespace

void require_torchscript(const std::filesystem::path& path) {
  if (!is_exported_program(path)) return;
  throw Error(
      ExitCode::kInput,
      path.string() +
          ": is a torch.export archive, which can be hit but not changed or trained\n  that takes "
          "TorchScript: export the network with scripts/export_model.py --format torchscript, "
          "or in Python with torch.jit.script(model.eval()).save(...)");
}

torch::jit::Module load_torchscript(const std::filesystem::path& path, const std::string& device) {
  TorchRuntime::get();  // whatever opens a network comes by here
  const auto refused = [&](const std::string& problem) {
    return Error(ExitCode::kInput, path.string() + ": " + problem);
  };
  std::error_code status;
  if (std::filesystem::is_directory(path, status)) {
    throw refused("is a folder, not a TorchScript file");
  }
  require_regular(path);
  errno = 0;
  if (!std::ifstream(path, std::ios::binary).is_open()) {
    throw refused(std::string("cannot be read: ") + std::strerror(errno ? errno : EIO));
  }
  require_torchscript(path);
  check_records(path);
  if (const std::string other = what_else_it_is(path); !other.empty()) throw refused(other);
  if (const std::string use = outside_use_in(path); !use.empty()) {
    throw refused(
        "calls " + use +
        ", which writes files or acts on other machines\n  a model is a program; this one "
        "was not loaded. Export the network without that call");
  }
  try {
    return torch::jit::load(path.string(), c10::Device(device));
  } catch (const std::exception& error) {
    throw refused(told(error));
  }
}

}  // namespace bitfall
