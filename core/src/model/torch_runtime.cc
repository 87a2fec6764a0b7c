#include "torch_runtime.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#include <malloc.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/version.h>

#include <cstdlib>
#include <string_view>
#include <utility>

#include "error.h"
#include "worker_threads.h"

namespace bitfall {
namespace {

// Passes allocate and free the same sizes over and over. Memory that goes back to the system in
// between is handed out again page by page, cleared: 5 to 15 % of a ResNet-20's pass, and nine tenths
// of a ReLU's over 100 MB. 32 MiB is the largest threshold that there is: what is larger would always
// be mapped for itself, and is kept only where nothing is.
void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_TRIM_THRESHOLD, 512 << 20);
  mallopt(M_MMAP_MAX, 0);
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
  // OpenMP and MKL count threads for each thread by itself, and LibTorch hands its number on where
  // it divides work itself; a product that is the first thing that a thread does would take all
  // cores, whose sums have other last bits.
  set_thread_start([] { at::init_num_threads(); });
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

void TorchRuntime::wake(const std::string& device) {
  if (device == "cpu") return;
  try {
    at::empty({1}, at::TensorOptions().device(device));
  } catch (const std::exception&) {  // told where it is opened
  }
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
void TorchRuntime::keep_to_avx2() {
  if (avx2_alone_) return;
  // Each reads its variable when it first computes.
  for (const auto& [variable, value] : {std::pair{"ATEN_CPU_CAPABILITY", "avx2"},
                                        std::pair{"ONEDNN_MAX_CPU_ISA", "AVX2"},
                                        std::pair{"DNNL_MAX_CPU_ISA", "AVX2"},
                                        std::pair{"MKL_ENABLE_INSTRUCTIONS", "AVX2"}}) {
    ::setenv(variable, value, 1);
  }
  const std::string capability = at::get_cpu_capability();
  if (capability != "AVX2") {
    throw Error(ExitCode::kInput,
                "[run] cpu = \"avx2\": this process computes with " + capability +
                    (capability == "AVX512" ? ", which it had begun to before"
                                            : ": the processor has no AVX2"));
  }
  avx2_alone_ = true;
}

// The build's own words; the header's version is of the LibTorch that the program was compiled with.
std::string TorchRuntime::version() const {
  constexpr std::string_view kKey = "TORCH_VERSION=";
  const std::string config = at::show_config();
  const std::size_t begin = config.find(kKey);
  if (begin == config.npos) return TORCH_VERSION;
  const std::size_t end = config.find_first_of(", \n", begin);
  return config.substr(begin + kKey.size(), end - begin - kKey.size());
}

std::string TorchRuntime::cpu() const {
  std::string text = at::get_cpu_capability();
  if (avx2_alone_) text += " alone";
  const char* mkl = std::getenv("MKL_CBWR");  // equal results on all processors
  if (mkl != nullptr && *mkl != '\0') text += std::string(", MKL_CBWR=") + mkl;
  return text;
}
bool TorchRuntime::has_cuda() const { return at::hasCUDA(); }

}  // namespace bitfall
