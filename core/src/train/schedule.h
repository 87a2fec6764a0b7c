// The learning rate of each step of a training.
#pragma once

#include <cstdint>

#include "training_config.h"

namespace bitfall {

class Schedule {
 public:
  /// `highest`: OptimizerConfig::learning_rate.
  Schedule(const ScheduleConfig& config, double highest, std::int64_t epochs,
           std::int64_t steps_per_epoch);

  /// Of step 0 to epochs * steps_per_epoch - 1. As torch.optim.lr_scheduler, stepped once a step:
  /// OneCycleLR (cosine, two phases; momentum stays), CosineAnnealingLR over the steps behind
  /// warm-up, and once an epoch: StepLR.
  double rate(std::int64_t step) const;

 private:
  double one_cycle(std::int64_t step) const;

  ScheduleConfig config_;
  double highest_;
  std::int64_t steps_;
  std::int64_t steps_per_epoch_;
  std::int64_t warmup_;  // steps
};

}  // namespace bitfall
