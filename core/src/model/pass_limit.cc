#include "pass_limit.h"

#include <ctime>

#include "numbers.h"

namespace bitfall {
namespace {

thread_local PassLimit* current_limit = nullptr;

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

PassEndless::PassEndless(double seconds)
    : std::runtime_error("the pass did not end within " + exact_text(seconds) + " s") {}

PassLimit::PassLimit(double seconds, const std::atomic<bool>* stop)
    : seconds_(seconds), stop_(stop) {
  restart();
  current_limit = this;
}

PassLimit::~PassLimit() { current_limit = nullptr; }

void PassLimit::restart() { end_ = thread_seconds() + seconds_; }

void PassLimit::check() {
  const PassLimit* limit = current_limit;
  if (limit == nullptr) return;
  if (limit->stop_ != nullptr && *limit->stop_) throw PassStopped();
  if (limit->seconds_ > 0 && thread_seconds() > limit->end_) throw PassEndless(limit->seconds_);
}

}  // namespace bitfall
