#include "child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "error.h"
#include "timer.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

/// A file without a name, for what a process writes: in memory where none can be on the disk, as in
/// a sandbox.
class Output {
 public:
  Output() : file_(std::tmpfile()) {
    if (file_ == nullptr) {
      const int memory = memfd_create("bitfall-output", MFD_CLOEXEC);
      if (memory >= 0) file_ = fdopen(memory, "w+");
    }
    if (file_ == nullptr) {
      throw Error(ExitCode::kFailure,
                  std::string("no temporary file can be made: ") + std::strerror(errno));
    }
  }
  ~Output() { std::fclose(file_); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  int number() const { return fileno(file_); }
  std::string text() const {
    std::string text(1 << 20, '\0');
    const auto size = pread(number(), text.data(), text.size(), 0);
    text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return text;
  }

 private:
  std::FILE* file_;
};

[[noreturn]] void become(const std::vector<char*>& words, const char* folder, int out, int err) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // Ctrl-C ends this program alone, as the group is another
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, 0);
  dup2(out, 1);
  dup2(err, 2);
  if (*folder != '\0' && chdir(folder) != 0) _exit(127);
  execvp(words[0], words.data());
  _exit(127);
}

}  // namespace

ChildResult run_child(const ChildCommand& command) {
  std::vector<std::string> texts = command.words;
  std::vector<char*> words;
  for (std::string& text : texts) words.push_back(text.data());
  words.push_back(nullptr);
  const std::string folder = command.folder.string();
  const Output out, err;
  const Clock::time_point start = Clock::now();
  const pid_t child = fork();
  if (child == 0) become(words, folder.c_str(), out.number(), err.number());
  if (child < 0) {
    throw Error(ExitCode::kFailure, std::string("no process can be made: ") + std::strerror(errno));
  }
  ChildResult result;
  int status = 0;
  pid_t ended = 0;
  bool stopped = false;
  while ((ended = waitpid(child, &status, WNOHANG)) == 0) {
    const bool late = !result.timed_out && seconds_since(start) > command.limit_s;
    const bool unwanted = !stopped && command.stop != nullptr && *command.stop;
    if (late || unwanted) {
      result.timed_out |= late;
      stopped |= unwanted;
      kill(-child, SIGKILL);
      kill(child, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  kill(-child, SIGKILL);  // what it may have left behind
  if (ended < 0) {
    throw Error(ExitCode::kFailure,
                std::string("how a process ended is not known: ") + std::strerror(errno));
  }
  if (stopped) throw Error(ExitCode::kInterrupted, "stopped");
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = out.text();
  result.err = err.text();
  return result;
}

fs::path find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  for (const std::string& folder : split(path == nullptr ? "" : path, ':')) {
    const fs::path file = fs::path(folder.empty() ? "." : folder) / name;
    std::error_code ignored;
    if (fs::is_regular_file(file, ignored) && access(file.c_str(), X_OK) == 0) return file;
  }
  return {};
}

}  // namespace bitfall
