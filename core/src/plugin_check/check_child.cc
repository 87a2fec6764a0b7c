#include "check_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "atomic_file.h"
#include "error.h"
#include "plugin_calls.h"
#include "timer.h"
#include "words.h"

namespace bitfall {
namespace {

#if defined(BITFALL_ASAN)
constexpr bool kSanitized = true;  // its shadow memory is larger than any limit
#else
constexpr bool kSanitized = false;
#endif

constexpr std::size_t kTrying = 512;
char* trying = nullptr;           // shared with the parent, zero-terminated
thread_local bool tells = false;  // on a child's first thread
std::string& tried_with() {
  static std::string text;
  return text;
}
std::string& note_text() {
  static std::string text;
  return text;
}

[[noreturn]] void no_process(const char* what) {
  throw Error(ExitCode::kFailure,
              std::string("a child process for a check: ") + what + ": " + std::strerror(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { close_now(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }
  void close_now() {
    if (number_ >= 0) close(number_);
    number_ = -1;
  }

 private:
  int number_;
};

int memory_file(const char* name) {
  const int file = memfd_create(name, MFD_CLOEXEC);
  if (file < 0) no_process("memfd_create");
  return file;
}

/// What was written to it, at most its first 64 KiB.
std::string contents(int file) {
  std::string text(64 << 10, '\0');
  const auto got = pread(file, text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

std::size_t used_address_space() {
  std::ifstream file("/proc/self/statm");
  std::size_t pages = 0;
  file >> pages;
  return pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

void set_limit(int resource, std::size_t most) {
  rlimit limit{};
  getrlimit(static_cast<__rlimit_resource_t>(resource), &limit);
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, most);
  setrlimit(static_cast<__rlimit_resource_t>(resource), &limit);
}

/// In the child. The last byte says that the end was reached.
[[noreturn]] void be_child(const std::function<std::string()>& work, const ChildLimits& limits,
                           int result, int out, int err) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  set_limit(RLIMIT_CORE, 0);
  if (!kSanitized) set_limit(RLIMIT_AS, used_address_space() + limits.memory);
  catch_plugin_crashes();
  tells = true;
  std::string text;
  {
    static std::atomic<bool> never{false};
    const PluginWatch watch(never, {.warn_s = 1e6, .limit_s = limits.call_s, .stop_s = 1e6});
    try {
      text = "P" + work();
    } catch (const std::exception& failure) {
      text = std::string("F") + failure.what();
    } catch (...) {
      text = "Fthrows something that is not a std::exception";
    }
  }
  std::fflush(stdout);
  write_all(result, text + '\n');
  _exit(0);
}

/// Everything up to the end of the file; false where the time was up before.
bool read_until(int file, double seconds, std::string& text) {
  const auto start = Clock::now();
  for (;;) {
    const double left = seconds - seconds_since(start);
    if (left <= 0) return false;
    pollfd poll_file{file, POLLIN, 0};
    const int ready = poll(&poll_file, 1, static_cast<int>(std::ceil(left * 1000)));
    if (ready < 0 && errno != EINTR) return true;
    if (ready <= 0) continue;
    char part[4096];
    const auto got = read(file, part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    text.append(part, static_cast<std::size_t>(got));
  }
}

/// The last line that is not empty.
std::string last_line(const std::string& text) {
  const std::vector<std::string> lines = split(text, '\n');
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    if (!trimmed(*line).empty()) return std::string(trimmed(*line));
  }
  return "";
}

std::string while_trying() {
  return *trying == '\0' ? "" : ", while trying " + std::string(trying, strnlen(trying, kTrying));
}

/// What the handlers of plugin_calls have written of a call, from its verb on; "" where they have
/// not.
std::string told_of_call(const std::string& err, const char* verb) {
  const auto place = err.rfind(verb);
  if (place == err.npos) return "";
  std::string text = err.substr(place, err.find('\n', place) - place);
  if (const auto hint = text.find(" (see "); hint != text.npos) text.resize(hint);
  return text;
}

ChildEnd judged(const std::string& result, int status, bool in_time, const std::string& out,
                const std::string& err) {
  const bool ended = !result.empty() && result.back() == '\n';
  if (ended && in_time) {
    const std::string text = result.substr(1, result.size() - 2);
    if (result[0] == 'F') return {CheckVerdict::kFail, text};
    if (out.empty()) return {CheckVerdict::kPass, text};
    return {CheckVerdict::kFail, "prints on standard output, which is the program's: " +
                                     in_quotes(last_line(out).substr(0, 60)) +
                                     "; Host::log shows a line"};
  }
  if (const auto told = told_of_call(err, "does not come back from"); !told.empty()) {
    return {CheckVerdict::kHang, told + while_trying()};
  }
  if (const auto told = told_of_call(err, "crashed in"); !told.empty()) {
    return {CheckVerdict::kCrash, told + while_trying()};
  }
  if (const auto told = told_of_call(err, "ended the process in"); !told.empty()) {
    return {CheckVerdict::kExit, told + while_trying()};
  }
  if (!in_time) return {CheckVerdict::kHang, "does not end" + while_trying()};
  if (WIFSIGNALED(status)) {
    const std::string said = last_line(err);
    return {CheckVerdict::kCrash, std::string("ends with signal ") + strsignal(WTERMSIG(status)) +
                                      while_trying() + (said.empty() ? "" : ": " + said)};
  }
  return {CheckVerdict::kExit,
          "ended the process with code " + std::to_string(WEXITSTATUS(status)) + while_trying()};
}

}  // namespace

const char* to_string(CheckVerdict verdict) {
  switch (verdict) {
    case CheckVerdict::kPass:
      return "pass";
    case CheckVerdict::kFail:
      return "FAIL";
    case CheckVerdict::kCrash:
      return "CRASH";
    case CheckVerdict::kHang:
      return "HANG";
    case CheckVerdict::kExit:
      return "EXIT";
  }
  return "?";
}

ChildEnd run_in_child(const std::function<std::string()>& work, const ChildLimits& limits) {
  const auto start = Clock::now();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) no_process("pipe");
  const Descriptor from(ends[0]);
  Descriptor into(ends[1]);
  const Descriptor out(memory_file("stdout")), err(memory_file("stderr"));
  if (trying == nullptr) {
    void* memory =
        mmap(nullptr, kTrying, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) no_process("mmap");
    trying = static_cast<char*>(memory);
  }
  *trying = '\0';
  std::fflush(stdout);
  std::fflush(stderr);
  const pid_t child = fork();
  if (child < 0) no_process("fork");
  if (child == 0) be_child(work, limits, into.number(), out.number(), err.number());
  into.close_now();
  std::string result;
  const bool in_time = read_until(from.number(), limits.total_s, result);
  int status = 0;
  if (!in_time) kill(child, SIGKILL);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  kill(-child, SIGKILL);  // what the child has started
  ChildEnd end = judged(result, status, in_time, contents(out.number()), contents(err.number()));
  end.seconds = seconds_since(start);
  return end;
}

std::vector<std::uint64_t> in_another_process(
    const std::function<std::vector<std::uint64_t>()>& work) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) no_process("pipe2");
  const Descriptor from(ends[0]);
  Descriptor into(ends[1]);
  const pid_t child = fork();
  if (child < 0) no_process("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    report_crashes_to(open("/dev/null", O_WRONLY | O_CLOEXEC));
    tells = false;
    int code = 1;
    try {
      const auto numbers = work();
      const std::string_view bytes(reinterpret_cast<const char*>(numbers.data()),
                                   numbers.size() * sizeof(std::uint64_t));
      write_all(into.number(), std::string(bytes));
      code = 0;
    } catch (...) {
    }
    _exit(code);
  }
  into.close_now();
  std::vector<std::uint64_t> numbers;
  std::uint64_t number = 0;
  while (read(from.number(), &number, sizeof number) == sizeof number) numbers.push_back(number);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) numbers.clear();
  return numbers;
}

void now_trying(const std::string& what) {
  if (!tells) return;
  const std::string text = what + tried_with();
  const std::size_t length = std::min(text.size(), kTrying - 1);
  std::memcpy(trying, text.data(), length);
  trying[length] = '\0';
}

void note(const std::string& what) { note_text() = what; }

const std::string& noted() { return note_text(); }

TryingWith::TryingWith(const std::string& what) {
  tried_with() = " with " + what;
  now_trying("an instance");
}

TryingWith::~TryingWith() { tried_with().clear(); }

}  // namespace bitfall
