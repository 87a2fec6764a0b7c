// What a GPU is, for the facts of a run. No LibTorch or CUDA header is needed to include this.
#pragma once

#include <optional>
#include <string>

namespace bitfall {

/// Each is empty where it cannot be learned.
struct GpuFacts {
  std::string name;                // "NVIDIA H200"
  std::string compute_capability;  // "9.0"
  std::string cuda;                // of LibTorch's runtime: "13.0"
  std::string cudnn;               // "9.12.0"
  std::string driver;              // of the kernel: "580.65.06"
};

/// Of a device as torch names it ("cuda", "cuda:1"); nothing for the CPU, or without CUDA.
std::optional<GpuFacts> gpu_facts(const std::string& device);

/// What LibTorch is told about CUDA's arithmetic, for the whole process: kernels that give the same
/// bits each time, no choice of kernels by timing, and float32 products in TF32 (10 bits) only
/// where `tf32`. `strict`: an operator without such a kernel raises; else it warns. To be called
/// before the first network; without effect on the CPU.
void set_cuda_arithmetic(bool tf32, bool strict);

/// "13000" -> "13.0", "91200" of cuDNN -> "9.12.0"; empty for 0.
std::string cuda_version_text(long version);
std::string cudnn_version_text(long version);

}  // namespace bitfall
