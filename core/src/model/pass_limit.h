// Bounds what one pass may take, for loops whose number of turns the values decide: a fault may make it endless.
//
//   const PassLimit limit(5.0, &stop);
//   program.run(...)        throws PassEndless after 5 s of this thread's time, PassStopped once `stop` is true
#pragma once

#include <atomic>
#include <stdexcept>

namespace bitfall {

/// A pass that went on for longer than its limit.
class PassEndless : public std::runtime_error {
 public:
  explicit PassEndless(double seconds);
};

/// A pass that was given up since the command is to end.
class PassStopped : public std::runtime_error {
 public:
  PassStopped() : std::runtime_error("stopped") {}
};

/// For passes on this thread, as long as it lives. One per thread at a time.
class PassLimit {
 public:
  /// `seconds` of processor time of this thread, so that neither other programs nor a pause count;
  /// 0 = no limit. `stop` may be null.
  PassLimit(double seconds, const std::atomic<bool>* stop);
  ~PassLimit();
  PassLimit(const PassLimit&) = delete;
  PassLimit& operator=(const PassLimit&) = delete;

  /// The next pass has the whole time again.
  void restart();

  /// Throws PassEndless or PassStopped where this thread's limit says so.
  static void check();

 private:
  double seconds_;
  double end_ = 0;
  const std::atomic<bool>* stop_;
};

}  // namespace bitfall
