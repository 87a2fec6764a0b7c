// Trains a classifier: `bitfall train`.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "training_config.h"
#include "training_log.h"

namespace bitfall {

/// What a training writes into its directory and replaces there.
inline constexpr std::array kTrainingFiles = {"model.pt", "last.pt", "training.html", "log.csv",
                                              "checkpoint.pt"};

enum class TrainEnd { kDone, kInterrupted };

/// Trains as the file says, in the training directory:
///   training.toml    the file, verbatim
///   checkpoint.pt    everything that going on needs
///   log.csv          a row an epoch
///   model.pt         after the last epoch: the averaged weights if there are any, else the last
///   last.pt          with averaged weights: the last ones
class Trainer {
 public:
  /// Opens data and model. resume: goes on from the directory's checkpoint, if there is one. Else
  /// what an earlier training left there stays until this one's first checkpoint takes its place.
  /// Throws Error(kInput) where data and model do not fit each other, and where the checkpoint is
  /// of another training.
  Trainer(const Training& training, bool resume);
  ~Trainer();

  /// Epochs that were done when the checkpoint was written; 0 at a fresh start.
  std::int64_t epochs_done() const;
  std::int64_t parameters() const;  // numbers that are trained
  std::int64_t images() const;
  std::int64_t validation_images() const;
  std::int64_t threads() const;
  /// All that are done, those before the checkpoint too.
  const std::vector<EpochResult>& epochs() const;

  /// Goes on to the end, or until `stop`: then a checkpoint is written. Throws Error(kFailure) when
  /// the loss is no longer finite.
  TrainEnd run(const std::atomic<bool>& stop,
               const std::function<void(const EpochResult&)>& report);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace bitfall
