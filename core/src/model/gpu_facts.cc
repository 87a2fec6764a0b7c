#include "gpu_facts.h"

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>

#include <array>
#include <cstdlib>

namespace bitfall {
namespace {

// A function of a library of the driver's, null where there is none.
template <typename Function>
Function* function_of(const char* library, const char* name) {
  void* handle = dlopen(library, RTLD_NOW);
  return handle ? reinterpret_cast<Function*>(dlsym(handle, name)) : nullptr;
}

constexpr const char* kDriver = "libcuda.so.1";
constexpr const char* kManagement = "libnvidia-ml.so.1";

// By CUDA's driver interface, whose device numbers heed CUDA_VISIBLE_DEVICES as LibTorch's do.
void ask_driver(int ordinal, GpuFacts& facts) {
  constexpr int kMajor = 75, kMinor = 76;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
  auto* init = function_of<int(unsigned)>(kDriver, "cuInit");
  auto* get = function_of<int(int*, int)>(kDriver, "cuDeviceGet");
  auto* name = function_of<int(char*, int, int)>(kDriver, "cuDeviceGetName");
  auto* attribute = function_of<int(int*, int, int)>(kDriver, "cuDeviceGetAttribute");
  int device = 0;
  if (!init || !get || !name || !attribute || init(0) != 0 || get(&device, ordinal) != 0) return;
  std::array<char, 256> text{};
  if (name(text.data(), static_cast<int>(text.size()) - 1, device) == 0) facts.name = text.data();
  int major = 0, minor = 0;
  if (attribute(&major, kMajor, device) == 0 && attribute(&minor, kMinor, device) == 0) {
    facts.compute_capability = std::to_string(major) + "." + std::to_string(minor);
  }
}

std::string driver_version() {
  auto* init = function_of<int()>(kManagement, "nvmlInit_v2");
  auto* version = function_of<int(char*, unsigned)>(kManagement, "nvmlSystemGetDriverVersion");
  std::array<char, 96> text{};
  if (!init || !version || init() != 0) return "";
  return version(text.data(), static_cast<unsigned>(text.size()) - 1) == 0 ? text.data() : "";
}

// Newer versions of LibTorch tell the library that is loaded apart from the one built against.
template <typename Hooks>
long cudnn_version(const Hooks& hooks) {
  if (!hooks.hasCuDNN()) return 0;
  if constexpr (requires { hooks.versionRuntimeCuDNN(); }) {
    return hooks.versionRuntimeCuDNN();
  } else {
    return hooks.versionCuDNN();
  }
}

}  // namespace

std::string cuda_version_text(long version) {
  if (version <= 0) return "";
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string cudnn_version_text(long version) {
  if (version <= 0) return "";
  const long unit = version >= 90000 ? 10000 : 1000;  // from version 9 on two digits for the minor
  return std::to_string(version / unit) + "." + std::to_string(version % unit / 100) + "." +
         std::to_string(version % 100);
}

std::optional<GpuFacts> gpu_facts(const std::string& device) {
  if (!device.starts_with("cuda") || !at::hasCUDA()) return std::nullopt;
  const auto& hooks = at::detail::getCUDAHooks();
  GpuFacts facts;
  ask_driver(device.size() > 5 ? std::atoi(device.c_str() + 5) : 0, facts);
  facts.driver = driver_version();
  facts.cuda = cuda_version_text(hooks.hasCUDART() ? hooks.versionCUDART() : 0);
  facts.cudnn = cudnn_version_text(cudnn_version(hooks));
  return facts;
}

void set_cuda_arithmetic(bool tf32, bool strict) {
  // cuBLAS gives the same bits each time only with a workspace of its own; read when it starts.
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
  at::Context& context = at::globalContext();
  context.setAllowTF32CuDNN(tf32);
  context.setAllowTF32CuBLAS(tf32);
  context.setBenchmarkCuDNN(false);
  context.setDeterministicCuDNN(true);
  context.setDeterministicAlgorithms(true, !strict);
  context.setDeterministicFillUninitializedMemory(false);
}

}  // namespace bitfall
