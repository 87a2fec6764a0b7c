#include "schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bitfall {
namespace {

/// From `start` to `end` along half a cosine; share: 0 to 1.
double along_cosine(double start, double end, double share) {
  return end + (start - end) / 2 * (std::cos(std::numbers::pi * share) + 1);
}

}  // namespace

Schedule::Schedule(const ScheduleConfig& config, double highest, std::int64_t epochs,
                   std::int64_t steps_per_epoch)
    : config_(config),
      highest_(highest),
      steps_(epochs * steps_per_epoch),
      steps_per_epoch_(steps_per_epoch),
      warmup_(std::min(steps_, static_cast<std::int64_t>(std::llround(
                                   config.warmup_epochs * static_cast<double>(steps_per_epoch))))) {
}

double Schedule::one_cycle(std::int64_t step) const {
  const double top = config_.rise * static_cast<double>(steps_) - 1;  // may lie between steps
  const auto last = static_cast<double>(steps_ - 1);
  const auto now = static_cast<double>(step);
  const double start = highest_ * config_.start_factor, end = highest_ * config_.end_factor;
  if (now <= top) return along_cosine(start, highest_, top > 0 ? now / top : 1);
  return along_cosine(highest_, end, (now - top) / (last - top));
}

double Schedule::rate(std::int64_t step) const {
  if (config_.kind == ScheduleKind::kOneCycle) return one_cycle(step);
  if (step < warmup_) {
    const double share = static_cast<double>(step) / static_cast<double>(warmup_);
    return highest_ * (config_.warmup_factor + (1 - config_.warmup_factor) * share);
  }
  switch (config_.kind) {
    case ScheduleKind::kStep:
      return highest_ * std::pow(config_.gamma, step / steps_per_epoch_ / config_.step_epochs);
    case ScheduleKind::kCosine: {
      const auto rest = static_cast<double>(steps_ - warmup_);
      return along_cosine(highest_, config_.minimum, static_cast<double>(step - warmup_) / rest);
    }
    default:
      return highest_;
  }
}

}  // namespace bitfall
