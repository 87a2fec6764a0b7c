// What LibTorch keeps once for the whole process, and what all its networks therefore share. No LibTorch type is needed
// to include this.
//
//   load_torchscript()       ── get() ──────────> memory, executor: set once, ahead of the first network
//   Session, tuning, Trainer ── set_threads() ──> the threads of one operation
//
// A network sets nothing of this itself, so that several in one process do not disturb each other.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace bitfall {

class TorchRuntime {
 public:
  /// The process's own. Made at the first call: freed memory is kept for the next pass, and TorchScript runs operation
  /// by operation. Safe from several threads at once.
  static TorchRuntime& get();
  TorchRuntime(const TorchRuntime&) = delete;
  TorchRuntime& operator=(const TorchRuntime&) = delete;

  /// How many threads one operation uses, in every thread that runs networks; 0 keeps what holds. May decide last bits.
  /// To be called while no network runs.
  void set_threads(std::int64_t threads);
  std::int64_t threads() const;

  /// Loads a library that registers operators which a network uses and PyTorch itself has not. It runs
  /// that library's code. Throws Error(kInput) naming the file.
  void load_library(const std::filesystem::path& path);

  /// Has the device's driver started: what it needs of the system once is then done. "cpu" needs none; where it fails,
  /// opening the device tells why.
  void wake(const std::string& device);

  /// Keeps LibTorch, oneDNN and MKL to the instructions of AVX2. To be called ahead of the first
  /// operation. Throws Error(kInput) where the processor has no AVX2, or LibTorch has chosen already.
  void keep_to_avx2();

  std::string version() const;  // of the LibTorch that is loaded: "2.11.0"
  /// Whose instructions it uses: "AVX512", "AVX2", "DEFAULT"; "AVX2 alone" where it was asked for; and MKL_CBWR, where it is set.
  std::string cpu() const;
  bool has_cuda() const;

 private:
  TorchRuntime();

  bool avx2_alone_ = false;
};

}  // namespace bitfall
