#include "bubblewrap.h"

#include <cstdlib>
#include <utility>

#include "error.h"
#include "log.h"
#include "words.h"

namespace bitfall {

namespace fs = std::filesystem;

Sandbox::Sandbox(fs::path folder, bool trust, const std::atomic<bool>& stop)
    : folder_(std::move(folder)), bubblewrap_(find_program("bwrap")), stop_(stop) {
  std::string reason = "bubblewrap (bwrap) is not installed";
  if (!bubblewrap_.empty()) {
    closed_ = true;
    const ChildResult tried = run({"true"}, 20);
    closed_ = tried.code == 0;
    reason = "bubblewrap cannot make a sandbox here: " + std::string(trimmed(tried.err));
  }
  if (closed_) return;
  if (!trust) {
    throw Error(
        ExitCode::kUsage,
        reason + "; a pack's code is not built or run outside of one unless --trust says so");
  }
  log_warning(reason + "; --trust: the pack's code runs as you do");
}

std::vector<std::string> Sandbox::wrapped(const std::vector<std::string>& words) const {
  std::vector<std::string> all = {bubblewrap_.string(),
                                  "--unshare-all",
                                  "--die-with-parent",
                                  "--new-session",
                                  "--clearenv",
                                  "--ro-bind",
                                  "/",
                                  "/",
                                  "--dev",
                                  "/dev",
                                  "--proc",
                                  "/proc",
                                  "--tmpfs",
                                  "/dev/shm"};
  const auto add = [&](std::vector<std::string> more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  // Sockets, such as the user's bus: what starts programs outside could be asked there.
  std::error_code ignored;
  if (fs::is_directory("/run", ignored)) add({"--tmpfs", "/run"});
  const std::string folder = folder_.string();
  add({"--bind", folder, folder, "--chdir", folder});
  add({"--setenv", "HOME", folder, "--setenv", "TMPDIR", folder + "/tmp"});
  for (const char* name :
       {"PATH", "LANG", "LD_LIBRARY_PATH", "CXX", "OMP_NUM_THREADS", "OMP_WAIT_POLICY"}) {
    if (const char* value = std::getenv(name)) add({"--setenv", name, value});
  }
  all.emplace_back("--");
  add(words);
  return all;
}

ChildResult Sandbox::run(const std::vector<std::string>& words, double limit_s) const {
  return run_child({closed_ ? wrapped(words) : words, folder_, limit_s, &stop_});
}

}  // namespace bitfall
