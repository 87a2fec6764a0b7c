// Chooses batch, threads and workers for a model on this machine, by timing a few bare passes.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace bitfall {

/// 0 = to be chosen.
struct Tuning {
  std::int64_t batch = 0;
  std::int64_t threads = 0;  // of LibTorch, in each worker
  std::int64_t workers = 0;
  std::string reason;  // what was timed, for people; empty if nothing was
};

/// Fills what is 0 in `given`. Usual values are kept unless others are clearly faster, so that the
/// choice seldom differs from run to run: batches of 32 (128 on CUDA; others by 25 %), one thread
/// in each of as many workers as there are cores (one worker of all cores by 10 %, or where passes
/// are long if it is not slower by 10 %). `images` bounds the batch. On CUDA only the batch is
/// chosen.
/// values: of images [any, C, H, W] to time it on; empty = noise.
/// Throws Error(kInput) when the model cannot run on such an input.
Tuning tune(const Tuning& given, const std::filesystem::path& model,
            std::array<std::int64_t, 3> input, const std::string& device, std::int64_t images,
            const std::vector<float>& values = {});

}  // namespace bitfall
