#include "plugin_calls.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "error.h"
#include "log.h"

namespace bitfall {
namespace {

// One thread's. Written by it with plain stores, read by handlers on it and by the watch.
struct Slot {
  std::atomic<const char*> who{nullptr};  // null: in no plugin
  std::atomic<const char*> what{nullptr};
  std::atomic<const char*> site{nullptr};
  std::atomic<std::int64_t> trial{-1};
  std::atomic<std::uint64_t> calls{0};  // begun and ended
  std::atomic<pid_t> thread{::gettid()};
};

struct Slots {
  std::mutex mutex;
  std::set<Slot*> all;
};
Slots& slots() {
  static Slots& all = *new Slots;  // threads may outlive static objects
  return all;
}

// A handler cannot run on a stack that is used up.
constexpr std::size_t kStack = 64 << 10;

class OwnSlot {
 public:
  OwnSlot() : stack_(std::make_unique<std::array<char, kStack>>()) {
    const std::lock_guard lock(slots().mutex);
    slots().all.insert(&slot);
    stack_t stack{};
    stack.ss_sp = stack_->data();
    stack.ss_size = stack_->size();
    had_none_ = sigaltstack(nullptr, &before_) == 0 && (before_.ss_flags & SS_DISABLE) != 0;
    if (had_none_) sigaltstack(&stack, nullptr);
  }
  ~OwnSlot() {
    const std::lock_guard lock(slots().mutex);
    slots().all.erase(&slot);
    if (had_none_) sigaltstack(&before_, nullptr);
  }
  Slot slot;

 private:
  std::unique_ptr<std::array<char, kStack>> stack_;
  stack_t before_{};
  bool had_none_ = false;
};

thread_local Slot* current = nullptr;  // set at the first call: a handler must not make one

Slot& own_slot() {
  if (current == nullptr) {
    thread_local OwnSlot own;
    current = &own.slot;
  }
  return *current;
}

std::array<char, 1024> advice_text{};  // zero-terminated

// Text that grows in a fixed place, for handlers.
class Line {
 public:
  void add(const char* text) {
    const std::size_t length = std::min(std::strlen(text), text_.size() - size_);
    std::memcpy(text_.data() + size_, text, length);
    size_ += length;
  }
  void add(std::int64_t number) {
    const auto done = std::to_chars(text_.data() + size_, text_.data() + text_.size(), number);
    if (done.ec == std::errc()) size_ = static_cast<std::size_t>(done.ptr - text_.data());
  }
  std::string text() const { return {text_.data(), size_}; }
  void write(int file) const {
    [[maybe_unused]] const auto written = ::write(file, text_.data(), size_);
  }

 private:
  std::array<char, 2048> text_;
  std::size_t size_ = 0;
};

// ", at site 'conv1', trial 7"
void add_place(Line& line, const Slot& slot) {
  const char* site = slot.site.load();
  if (!site) return;
  line.add(", at site '");
  line.add(site);
  line.add("'");
  if (slot.trial.load() < 0) return;
  line.add(", trial ");
  line.add(slot.trial.load());
}

// "format 'x' of plugin y crashed in decode (segmentation fault), at site 'conv1', trial 7".
void tell(Line& line, const Slot& slot, const char* verb, const char* how) {
  line.add(slot.who.load());
  line.add(verb);
  line.add(slot.what.load());
  line.add(how);
  add_place(line, slot);
}

Line told(const Slot& slot, const char* verb, const char* how) {
  Line line;
  line.add("\nbitfall: error: ");
  tell(line, slot, verb, how);
  line.add("\n");
  if (advice_text[0] != '\0') {
    line.add("  ");
    line.add(advice_text.data());
    line.add("\n");
  }
  return line;
}

[[noreturn]] void end_at_once(int code) {
  for (;;) syscall(SYS_exit_group, code);
}

std::atomic<int> report_file{-1};
std::atomic<bool> catching{false};
std::atomic<pid_t> own_process{0};   // a child of a plugin's may end as it likes
std::atomic<bool> concluded{false};  // the process may exit
std::atomic<bool> is_stray{false};   // this process was forked within a call
std::atomic<std::int64_t> failed{kNoFailedCall};

std::int64_t trial_of(const Slot& slot) { return slot.site.load() ? slot.trial.load() : -1; }

[[noreturn]] void end_process(const Slot& slot, const char* verb, const char* how) {
  if (report_file.load() >= 0) {
    Line line;
    line.add(trial_of(slot));
    line.add("\n");
    tell(line, slot, verb, how);
    line.write(report_file.load());
  } else {
    told(slot, verb, how).write(STDERR_FILENO);
  }
  end_at_once(static_cast<int>(ExitCode::kPlugin));
}

constexpr std::array kSignals = {SIGSEGV, SIGBUS,  SIGFPE, SIGILL,
                                 SIGABRT, SIGTRAP, SIGSYS, SIGPIPE};

const char* reason(int signal) {
  switch (signal) {
    case SIGSEGV:
      return " (segmentation fault)";
    case SIGBUS:
      return " (bus error)";
    case SIGFPE:
      return " (arithmetic exception)";
    case SIGILL:
      return " (illegal instruction)";
    case SIGTRAP:
      return " (trap)";
    case SIGSYS:
      return " (bad system call)";
    case SIGPIPE:
      return " (it wrote to a pipe that nobody reads)";
    default:
      return " (abort)";
  }
}

struct PluginCode {
  std::atomic<const void*> base{nullptr};
  std::array<char, 512> name{};  // zero-terminated
};
std::array<PluginCode, 64> plugin_libraries;

const void* base_of(const void* address) {
  Dl_info info{};
  return dladdr(address, &info) != 0 ? info.dli_fbase : nullptr;
}

// The plugin whose code this thread runs without having been called for it, innermost first.
const char* plugin_in_the_stack() {
  std::array<void*, 64> frames{};
  const int depth = backtrace(frames.data(), static_cast<int>(frames.size()));
  for (int i = 0; i < depth; ++i) {
    const void* base = base_of(frames[static_cast<std::size_t>(i)]);
    for (const PluginCode& library : plugin_libraries) {
      if (base != nullptr && library.base.load() == base) return library.name.data();
    }
  }
  return nullptr;
}

// Where the plugin is in no call.
[[noreturn]] void end_uncalled(const char* plugin, const char* verb, const char* how) {
  Slot slot;
  slot.who = plugin;
  slot.what = "code that was not called, such as a thread of its own";
  end_process(slot, verb, how);
}

void on_crash(int signal) {
  if (current != nullptr && current->who.load() != nullptr) {
    end_process(*current, " crashed in ", reason(signal));
  }
  for (const int other : kSignals) ::signal(other, SIG_DFL);  // looking may crash, too
  if (const char* plugin = plugin_in_the_stack()) {
    end_uncalled(plugin, " crashed in ", reason(signal));
  }
  raise(signal);
}

// They end a process that does not handle them, and come to any of its threads.
constexpr std::array kSentSignals = {SIGALRM, SIGVTALRM, SIGPROF, SIGHUP};

const char* sent_by(int signal) {
  switch (signal) {
    case SIGALRM:
      return "SIGALRM, a timer";
    case SIGVTALRM:
      return "SIGVTALRM, a timer";
    case SIGPROF:
      return "SIGPROF, a profiler's timer";
    default:
      return "SIGHUP, sent by itself";
  }
}

void on_sent(int signal, siginfo_t* info, void*) {
  const bool sent = info->si_code == SI_USER || info->si_code == SI_TKILL;
  const bool own = sent ? info->si_pid == ::getpid() : signal != SIGHUP;
  if (!own || plugin_libraries.front().base == nullptr) {
    ::signal(signal, SIG_DFL);
    raise(signal);
    return;
  }
  Line line;
  line.add(report_file.load() >= 0 ? "-1\n" : "\nbitfall: error: ");
  line.add("a signal that code of the process asked for ends it (");
  line.add(sent_by(signal));
  line.add("); it is that of ");
  const char* between = "";
  for (const PluginCode& library : plugin_libraries) {
    if (library.base == nullptr) break;
    line.add(between);
    line.add(library.name.data());
    between = " or ";
  }
  line.add("\n");
  if (report_file.load() < 0 && advice_text[0] != '\0') {
    line.add("  ");
    line.add(advice_text.data());
    line.add("\n");
  }
  line.write(report_file.load() >= 0 ? report_file.load() : STDERR_FILENO);
  end_at_once(static_cast<int>(ExitCode::kPlugin));
}

constexpr double kEndTold = 5, kEndLimit = 60;  // seconds
std::atomic<double> end_limit{kEndLimit};
std::atomic<int> end_code{0};
std::atomic<bool> end_told{false};

void ring_after(double seconds) {
  itimerval time{};
  time.it_value.tv_sec = static_cast<time_t>(seconds);
  time.it_value.tv_usec = 1 + static_cast<suseconds_t>(1e6 * (seconds - std::floor(seconds)));
  setitimer(ITIMER_REAL, &time, nullptr);
}

void on_late_end(int) {
  Line line;
  const char* plugin = plugin_in_the_stack();
  line.add("bitfall: warning: the command has ended, and ");
  line.add(plugin ? plugin : "something");
  line.add(" keeps the process from ending (the destructor of a static object, say)");
  line.add(end_told.load() ? "; ended all the same\n" : "\n");
  line.write(STDERR_FILENO);
  if (end_told.exchange(true)) end_at_once(end_code);
  ring_after(end_limit);
}

void end_call(const char* how) {
  if (::getpid() != own_process.load()) return;
  if (current != nullptr && current->who.load() != nullptr) {
    end_process(*current, " ended the process in ", how);
  }
  if (concluded) return;
  if (const char* plugin = plugin_in_the_stack()) {
    end_uncalled(plugin, " ended the process in ", how);
  }
}
void know_thread() {
  if (current != nullptr) current->thread = ::gettid();
}
// In the child.
void on_fork() {
  is_stray = current != nullptr && current->who.load() != nullptr;
  know_thread();
}

void on_exit() { end_call(" (it called exit)"); }

}  // namespace

void catch_plugin_crashes() {
  catching = true;
  own_process = ::getpid();
  know_thread();
  void* frame = nullptr;
  backtrace(&frame, 1);  // loads what unwinds, for which a handler may have no memory
  struct sigaction action{};
  action.sa_handler = on_crash;
  action.sa_flags = SA_ONSTACK | SA_NODEFER;
  for (const int signal : kSignals) sigaction(signal, &action, nullptr);
  struct sigaction sent{};
  sent.sa_sigaction = on_sent;
  sent.sa_flags = SA_ONSTACK | SA_NODEFER | SA_SIGINFO;
  for (const int signal : kSentSignals) {
    struct sigaction now{};
    sigaction(signal, nullptr, &now);
    if (now.sa_handler == SIG_DFL) sigaction(signal, &sent, nullptr);  // nohup ignores one
  }
  ::pthread_atfork(nullptr, nullptr, on_fork);
  std::atexit(on_exit);
  std::at_quick_exit(on_exit);
}

void note_plugin_library(const void* symbol, const std::string& who) {
  const void* base = base_of(symbol);
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  for (PluginCode& library : plugin_libraries) {
    if (library.base == base) return;
    if (library.base != nullptr) continue;
    who.copy(library.name.data(), library.name.size() - 1);
    library.base = base;
    return;
  }  // of one more, such a crash has no name
}

void expect_end(int code) {
  concluded = true;
  end_code = code;
  struct sigaction action{};
  action.sa_handler = on_late_end;
  sigaction(SIGALRM, &action, nullptr);
  ring_after(std::min(kEndTold, end_limit.load() / 4));
}

void report_crashes_to(int file) {
  report_file = file;
  own_process = ::getpid();
}

std::string place_of_call() {
  Line line;
  if (current != nullptr) add_place(line, *current);
  return line.text();
}

std::int64_t trial_of_call() { return current == nullptr ? -1 : trial_of(*current); }

void note_failed_call() { failed = trial_of_call(); }

std::int64_t failed_trial() { return failed; }

PluginCall::PluginCall(const char* who, const char* what) : state_(floating_point_state()) {
  Slot& slot = own_slot();
  outer_who_ = slot.who.load(std::memory_order_relaxed);
  outer_what_ = slot.what.load(std::memory_order_relaxed);
  slot.what.store(what, std::memory_order_relaxed);
  slot.who.store(who, std::memory_order_release);
  slot.calls.store(slot.calls.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

PluginCall::~PluginCall() {
  Slot& slot = *current;
  if (is_stray.load(std::memory_order_relaxed) && outer_who_ == nullptr) {
    Line line;
    line.add("\nbitfall: warning: ");
    tell(line, slot, " has forked, and the child came back from ", ": the child ends there");
    line.add("\n");
    line.write(STDERR_FILENO);
    end_at_once(static_cast<int>(ExitCode::kPlugin));
  }
  slot.who.store(outer_who_, std::memory_order_relaxed);
  slot.what.store(outer_what_, std::memory_order_relaxed);
  slot.calls.store(slot.calls.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (left_arithmetic_alone()) return;
  if (!x87_is_empty()) empty_x87();
  set_floating_point_state(state_);
}

PluginWork::PluginWork(const char* site, std::int64_t trial) {
  Slot& slot = own_slot();
  outer_site_ = slot.site.load(std::memory_order_relaxed);
  outer_trial_ = slot.trial.load(std::memory_order_relaxed);
  const bool outer = trial < 0 && outer_site_ != nullptr;
  slot.trial.store(outer ? outer_trial_ : trial, std::memory_order_relaxed);
  slot.site.store(site, std::memory_order_relaxed);
}

PluginWork::~PluginWork() {
  current->trial.store(outer_trial_, std::memory_order_relaxed);
  current->site.store(outer_site_, std::memory_order_relaxed);
}

namespace {

// Ended by the bare system call; the first thread of a process stays as a zombie.
bool is_gone(pid_t thread) {
  if (::tgkill(::getpid(), thread, 0) != 0) return errno == ESRCH;
  std::ifstream status("/proc/self/task/" + std::to_string(thread) + "/status");
  for (std::string word; status >> word;) {
    if (word == "State:") return status >> word && word == "Z";
  }
  return false;
}

}  // namespace

struct PluginWatch::State {
  const std::atomic<bool>& stop;
  WatchLimits limits;
  std::mutex mutex = {};
  std::condition_variable wake = {};
  bool ended = false;
  std::thread thread = {};

  using Clock = std::chrono::steady_clock;
  struct Seen {
    std::uint64_t calls = 0;
    Clock::time_point since = {};
    bool warned = false;
  };

  void look() {
    std::map<Slot*, Seen> seen;
    std::optional<Clock::time_point> stopped;
    std::unique_lock lock(mutex);
    const auto pause = std::chrono::duration<double>(
        std::min({1.0, limits.warn_s / 4, limits.limit_s / 4, limits.stop_s / 4}));
    while (!wake.wait_for(lock, pause, [&] { return ended; })) {
      const auto now = Clock::now();
      if (stop && !stopped) stopped = now;
      const std::lock_guard all(slots().mutex);
      for (Slot* slot : slots().all) look_at(*slot, seen[slot], now, stopped);
    }
  }

  void look_at(const Slot& slot, Seen& seen, Clock::time_point now,
               const std::optional<Clock::time_point>& stopped) const {
    const std::uint64_t calls = slot.calls.load();
    if (slot.who.load() != nullptr && is_gone(slot.thread)) {
      end_process(slot, " ended the thread that had called it in ", "");
    }
    if (slot.who.load() == nullptr || calls != seen.calls) {
      seen = {calls, now, false};
      return;
    }
    const auto seconds = [&](Clock::time_point from) {
      return std::chrono::duration<double>(now - from).count();
    };
    if (seconds(seen.since) >= limits.limit_s) {
      end_process(slot, " does not come back from ", " (see [run] plugin_limit)");
    }
    if (stopped && std::min(seconds(*stopped), seconds(seen.since)) >= limits.stop_s) {
      end_process(slot, " was asked to stop and does not come back from ", "");
    }
    if (seconds(seen.since) >= limits.warn_s && !seen.warned) {
      seen.warned = true;
      log_warning(std::string(slot.who.load()) + " has been in " + slot.what.load() + " for " +
                  std::to_string(static_cast<int>(seconds(seen.since))) + " s");
    }
  }
};

PluginAdvice::PluginAdvice(const std::string& advice) {
  std::memset(advice_text.data(), 0, advice_text.size());
  advice.copy(advice_text.data(), advice_text.size() - 1);
}

PluginAdvice::~PluginAdvice() { advice_text[0] = '\0'; }

PluginWatch::PluginWatch(const std::atomic<bool>& stop, WatchLimits limits)
    : state_(new State{stop, limits}) {
  end_limit = std::min(kEndLimit, limits.limit_s);
  state_->thread = std::thread([this] { state_->look(); });
}

PluginWatch::~PluginWatch() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->ended = true;
  }
  state_->wake.notify_all();
  state_->thread.join();
  delete state_;
}

}  // namespace bitfall

#ifndef BITFALL_ASAN  // which has its own
// A plugin that calls these would end the process at once, as if all were done: the program's names
// go before libc's.
extern "C" __attribute__((visibility("default"), noreturn)) void _exit(int code) {
  if (bitfall::catching) bitfall::end_call(" (it called _exit)");
  bitfall::end_at_once(code);
}
extern "C" __attribute__((visibility("default"), noreturn)) void _Exit(int code) noexcept {
  _exit(code);
}
#endif
