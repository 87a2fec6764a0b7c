// What a process has once, for all of its threads: code of others that changes it changes what
// comes after.
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

#include <array>
#include <filesystem>
#include <locale>
#include <string>

namespace bitfall {

/// As it is when this is made: working directory, mask of new files, handlers of signals, timers
/// (those of setitimer), limits of resources but for that of data, which the program itself lowers
/// (MemoryLimit), locale.
class ProcessState {
 public:
  ProcessState();
  /// Puts back what has changed since, and says what: "the working directory and the locale";
  /// empty where nothing has.
  std::string put_back() const;

 private:
  static constexpr std::array kSignals = {SIGSEGV, SIGBUS,  SIGFPE,    SIGILL,  SIGABRT, SIGTRAP,
                                          SIGSYS,  SIGINT,  SIGTERM,   SIGHUP,  SIGPIPE, SIGXFSZ,
                                          SIGCHLD, SIGALRM, SIGVTALRM, SIGPROF, SIGUSR1};
  static constexpr std::array kTimers = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};

  bool stop_timers() const;
  /// "limits of resources", or nothing where they are as they were.
  std::string put_back_limits() const;

  std::filesystem::path folder_;  // empty: it is gone
  unsigned mask_ = 0;
  std::array<struct sigaction, kSignals.size()> actions_;
  std::array<bool, kTimers.size()> ticking_;
  std::array<rlimit, RLIM_NLIMITS> limits_;
  std::string c_locale_;
  std::locale locale_;
};

}  // namespace bitfall
