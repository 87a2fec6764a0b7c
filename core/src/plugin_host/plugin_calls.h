// Which plugin's code each thread is in, so that a crash, an exit or an endless call has a name.
//
//   main ────── catch_plugin_crashes()       handlers of signals and of exit, for the whole process
//   Session ─── PluginWatch                  ends calls that do not end
//   execute ─── PluginAdvice                 says what to do then
//   worker ──── PluginWork work(site, trial) what a call is about
//   guards ──── PluginCall call(who, what)   around each call
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "floating_point_state.h"

namespace bitfall {

/// From here on a crash or an exit within a plugin's code ends the process with exit code 3 and one
/// line that names component, method and, in a run, site and trial. Other crashes are left alone.
/// So does a timer, or a signal that the process sends itself, once a plugin is noted (below):
/// which of them did that is not known.
void catch_plugin_crashes();

/// Of a loaded plugin, by an address within it: a crash or an exit in its code outside of all
/// calls, as in a thread that it has started, is then told as of `who`, "plugin NAME".
void note_plugin_library(const void* symbol, const std::string& who);

/// The process is to end now, with this code, and may exit. Where it does not for some seconds, as
/// the destructor of a plugin's static object, or a thread that it waits for, does not come back,
/// that is told, and after a minute, or the limit of the last PluginWatch, it ends all the same.
void expect_end(int code);

/// Around one call of a plugin's code. Puts the processor's floating-point state back. A child that
/// the code has forked ends where the call does.
class PluginCall {
 public:
  /// Borrows both. `who`: "format 'fp16' of plugin formats_ieee". `what`: the method.
  PluginCall(const char* who, const char* what);
  ~PluginCall();
  PluginCall(const PluginCall&) = delete;
  PluginCall& operator=(const PluginCall&) = delete;

  /// False if the code has changed how the processor computes.
  bool left_arithmetic_alone() const { return floating_point_state() == state_ && x87_is_empty(); }

 private:
  const char* outer_who_;
  const char* outer_what_;
  std::uint64_t state_;
};

/// What this thread's calls are about, while it lives. Borrows the name. trial: -1 for that of the
/// PluginWork around it, or none.
class PluginWork {
 public:
  PluginWork(const char* site, std::int64_t trial);
  ~PluginWork();
  PluginWork(const PluginWork&) = delete;
  PluginWork& operator=(const PluginWork&) = delete;

 private:
  const char* outer_site_;
  std::int64_t outer_trial_;
};

/// From here on a crash is not told on stderr but written to this file, in one piece: the trial's
/// number (-1: of none), a line end, and what happened.
void report_crashes_to(int file);
/// ", at site 'conv1', trial 7": what this thread's calls are about, for messages; empty where they
/// are about no site.
std::string place_of_call();
/// The trial that this thread's call is about; -1 where it is about none.
std::int64_t trial_of_call();
/// Notes that trial for failed_trial(): the call throws.
void note_failed_call();
/// That of the last call that threw, of any thread; -1 where it was about none, kNoFailedCall
/// before any.
std::int64_t failed_trial();
inline constexpr std::int64_t kNoFailedCall = -2;

/// What crashes tell to do, while it lives.
class PluginAdvice {
 public:
  explicit PluginAdvice(const std::string& advice);
  ~PluginAdvice();
  PluginAdvice(const PluginAdvice&) = delete;
  PluginAdvice& operator=(const PluginAdvice&) = delete;
};

/// While it lives a thread of its own looks at the calls. One that
/// takes `warn_s` is told of; one that takes `limit_s`, that still runs `stop_s` after `stop`
/// became true, or whose thread is gone, ends the process with exit code 3 and its name.
struct WatchLimits {
  double warn_s = 30, limit_s = 600, stop_s = 5;
};
class PluginWatch {
 public:
  PluginWatch(const std::atomic<bool>& stop, WatchLimits limits);
  ~PluginWatch();
  PluginWatch(const PluginWatch&) = delete;
  PluginWatch& operator=(const PluginWatch&) = delete;

 private:
  struct State;
  State* state_;
};

}  // namespace bitfall
