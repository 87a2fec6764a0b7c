// Commands in bubblewrap: the file system to read, one folder to write, no network, no view of
// other processes.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "child_process.h"

namespace bitfall {

class Sandbox {
 public:
  /// `folder`: the one that may be written. `trust`: commands run as they are where there is no
  /// bubblewrap, or where it cannot make a sandbox. Throws Error(kUsage) without it there.
  /// `stop`: ends a command that runs, by Error(kInterrupted).
  Sandbox(std::filesystem::path folder, bool trust, const std::atomic<bool>& stop);

  ChildResult run(const std::vector<std::string>& words, double limit_s) const;
  bool closed() const { return closed_; }

 private:
  std::vector<std::string> wrapped(const std::vector<std::string>& words) const;

  std::filesystem::path folder_;
  std::filesystem::path bubblewrap_;
  const std::atomic<bool>& stop_;
  bool closed_ = false;
};

}  // namespace bitfall
