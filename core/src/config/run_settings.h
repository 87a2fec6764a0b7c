// How a campaign is run: from its file to the engine as one.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace bitfall {

/// Whether a faulty value is used as it is decoded, or cut to plus or minus the largest
/// golden magnitude of its site.
enum class HitValue { kRaw, kClamped };
inline constexpr std::array kHitValueNames = {"raw", "clamped"};  // by value

enum class CalibrationRule { kAbsMax, kPercentile };
inline constexpr std::array kCalibrationRuleNames = {"absmax", "percentile"};  // by value

/// How the largest golden magnitude becomes the bound of clamped hit values.
enum class BoundRounding { kNone, kFp16 };
inline constexpr std::array kBoundRoundingNames = {"none", "fp16"};  // by value

/// [calibration]: what a calibrated format (an integer's scale) and the bounds of clamped hit
/// values learn from golden data.
struct Calibration {
  CalibrationRule rule = CalibrationRule::kAbsMax;
  double percentile = 99.9;  // of the magnitudes; for kPercentile
  std::int64_t images = 0;   // a random sample of the data; 0 = all
  BoundRounding round = BoundRounding::kNone;
};

/// What a network answers with.
enum class AnswerKind { kLogits, kProbabilities };
inline constexpr std::array kAnswerKindNames = {"logits", "probabilities"};  // by value

/// Which instructions of the processor networks are run with: all that it has, or those of AVX2
/// alone.
enum class CpuInstructions { kNative, kAvx2 };
inline constexpr std::array kCpuInstructionsNames = {"native", "avx2"};  // by value

struct RunSettings {
  std::uint64_t seed = 1;
  HitValue hit_value = HitValue::kRaw;
  Calibration calibration;
  AnswerKind answer = AnswerKind::kLogits;

  std::string device = "cpu";
  CpuInstructions cpu = CpuInstructions::kNative;
  bool tf32 = false;         // CUDA alone: float32 products with 10 bits
  std::int64_t batch = 0;    // images per pass; 0 = to be chosen, also the two below
  std::int64_t threads = 0;  // of LibTorch, in each worker
  std::int64_t workers = 0;  // threads that run groups of chunks in parallel; on the CPU alone
  bool suffix = true;        // false: every pass runs the whole network from the image (the oracle
                             // of the fast path)
  bool early_stop = true;    // finish a trial where its damage has died out, and pack those left
  bool share = true;         // run trials that change the same values in the same image once
  bool regions = true;       // recompute only the windows that a fault can have reached
  std::int64_t memory_budget = 2048;  // MiB of golden values to keep; beyond it they are computed
                                      // once more
  std::int64_t commit_every = 256;    // trials per transaction of the store

  std::int64_t self_replay = 8;    // trials that are run again with components made anew
  double plugin_limit = 600;       // seconds that one call of a plugin may take
  std::int64_t plugin_memory = 0;  // MiB that a run with plugins of others may take; 0 = chosen
  double pass_limit = 0;  // seconds that a faulty pass may take; 0 = by the time of a golden one

  /// Of a faulty pass at most, where a golden one takes so many seconds: loops whose number of
  /// turns a fault decides may not end by themselves.
  double pass_seconds(double golden) const { return pass_limit > 0 ? pass_limit : 5 + 50 * golden; }
  std::int64_t memory_bytes() const { return memory_budget << 20; }
};

}  // namespace bitfall
