// The fault-free values of one chunk of images, as many of them at a time as memory allows.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "emulated_model.h"
#include "engine_costs.h"
#include "golden_keep.h"
#include "guarding.h"

namespace bitfall {

/// A row of logits [batch, classes] on the CPU.
std::span<const float> row_of(const at::Tensor& logits, std::int64_t row);

/// What each step of a pass computes and how long it takes.
struct StepCosts {
  std::vector<std::int64_t> bytes;  // memory that the step's results take; 0 for views
  std::vector<double> seconds;      // with number formats
  std::int64_t all_bytes() const;
  double seconds_from(int step) const;
};

/// A fault-free pass that was timed step by step, and the values that a chunk can begin with.
struct MeasuredPass {
  StepCosts costs;
  double formats_s = 0;  // of its seconds, those of number formats
  Slots slots;           // what steps before `to` read and made, up to a budget
  int to = 0;
  at::Tensor logits = {};
};
/// `budget`: as in GoldenChunk. Of a model that has run before: what is cold takes longer.
MeasuredPass measure_pass(const EmulatedModel& model, const at::Tensor& input,
                          const RowImages& images, std::int64_t budget);

/// Holds the values that steps [from, to) read or make: all of them if they fit, else those of some
/// steps, which move along the network and are computed once more on the way.
class GoldenChunk {
 public:
  /// Runs the whole network once, and keeps the values of its first steps, as far as they fit.
  /// `budget`: bytes that values may take beyond those that a bare pass needs. `keep`: begins with
  /// what it has of this chunk, and puts what the model makes there if it is the keep's; may be
  /// null. `measured`: that pass, if it was run already; its time is added now.
  GoldenChunk(const EmulatedModel& model, const StepCosts& step_costs, std::int64_t chunk,
              at::Tensor input, RowImages images, std::int64_t budget, GoldenKeep* keep,
              EngineCosts& costs, std::optional<MeasuredPass> measured);

  /// Makes `step` the first step to run from. Steps may only rise.
  void advance(int step, EngineCosts& costs);

  std::int64_t chunk() const { return chunk_; }
  const at::Tensor& input() const { return input_; }
  const RowImages& images() const { return images_; }
  /// [batch, classes], on the CPU.
  const at::Tensor& logits() const { return logits_; }
  std::span<const float> logits(std::int64_t row) const { return row_of(logits_, row); }
  /// Everything that a step from `from` on reads is there, up to the results of the step before
  /// `to`. Not to be written to.
  const Slots& slots() const { return slots_; }
  const at::Tensor& tensor(int slot) const {
    return slots_[static_cast<std::size_t>(slot)].toTensor();
  }
  int to() const { return to_; }

  /// Puts the answers through the guard.
  void guard_answer(const AnswerGuard& answer);
  /// Whether it found something in this row's, or changed it.
  bool doubted(std::int64_t row) const {
    return !doubted_.empty() && doubted_[static_cast<std::size_t>(row)];
  }
  /// Whether it has this row's computed once more.
  bool again(std::int64_t row) const {
    return !again_.empty() && again_[static_cast<std::size_t>(row)];
  }

 private:
  void run_first(EngineCosts& costs);
  void take(MeasuredPass measured, EngineCosts& costs);
  void release(int before);
  void drop_what_does_not_fit();
  void run_step(int step, EngineCosts& costs);
  void keep_ahead(std::int64_t held, EngineCosts& costs);
  std::int64_t held_bytes() const;

  const EmulatedModel& model_;
  const StepCosts& step_costs_;
  std::int64_t chunk_;
  at::Tensor input_;
  RowImages images_;
  std::int64_t budget_;
  const GoldenKeep* keep_;
  std::shared_ptr<const Slots> before_;  // of keep_; null where it has nothing
  Slots slots_;
  at::Tensor logits_;
  std::vector<bool> doubted_, again_;  // by row
  int to_ = 0;
};

}  // namespace bitfall
