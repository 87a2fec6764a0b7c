#include "torch_runtime.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#include <malloc.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/version.h>

#include "error.h"

namespace bitfall {
namespace {

// Passes allocate and free the same sizes over and over. Memory that goes back to the system in
// between is handed out again page by page, cleared: 5 to 15 % of a ResNet-20's pass.
void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
#endif
}

// Each operation by itself, as PyTorch without TorchScript: nothing is profiled, fused or
// differentiated ahead, which would change bits between the first runs of one model.
void use_plain_executor() {
  torch::jit::getExecutorMode() = true;
  torch::jit::getProfilingMode() = false;
}

}  // namespace

TorchRuntime::TorchRuntime() {
  keep_freed_memory();
  use_plain_executor();
}

TorchRuntime& TorchRuntime::get() {
  static TorchRuntime runtime;
  return runtime;
}

void TorchRuntime::set_threads(std::int64_t threads) {
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
}

void TorchRuntime::load_library(const std::filesystem::path& path) {
  std::error_code status;
  const std::filesystem::path whole = std::filesystem::absolute(path, status);
  if (dlopen(whole.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return;
  const char* problem = dlerror();
  throw Error(ExitCode::kInput, path.string() + ": cannot be loaded as a library of operators: " +
                                    (problem != nullptr ? problem : "no reason is given"));
}

std::int64_t TorchRuntime::threads() const { return at::get_num_threads(); }
std::string TorchRuntime::version() const { return TORCH_VERSION; }
std::string TorchRuntime::cpu() const { return at::get_cpu_capability(); }
bool TorchRuntime::has_cuda() const { return at::hasCUDA(); }

}  // namespace bitfall
