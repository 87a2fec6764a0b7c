// A command of others as a process, with a limit of time and its output in files.
#pragma once

#include <atomic>
#include <filesystem>
#include <string>
#include <vector>

namespace bitfall {

struct ChildCommand {
  std::vector<std::string> words;           // the first is a program, found by $PATH
  std::filesystem::path folder;             // where it runs; empty: here
  double limit_s = 600;                     // then it is killed with all that it started
  const std::atomic<bool>* stop = nullptr;  // where it becomes true, too
};

struct ChildResult {
  int code = 0;  // exit code; 128 + the signal's number where one ended it
  bool timed_out = false;
  std::string out, err;  // at most a MiB of each, from the front
};

/// Throws Error(kFailure) where no process can be made, Error(kInterrupted) where it was stopped. A
/// program that is not there: code 127.
ChildResult run_child(const ChildCommand& command);

/// Where $PATH has a program of this name; empty where it has none.
std::filesystem::path find_program(const std::string& name);

}  // namespace bitfall
