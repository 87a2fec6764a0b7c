// The one exception type of the host, and the process's exit codes.
#pragma once

#include <stdexcept>
#include <string>

namespace bitfall {

/// Exit codes of the program, documented in `bitfall --help`.
enum class ExitCode : int {
  kDone = 0,
  kFailure = 1,  // a run-time failure of ours or of the machine (disk full)
  kUsage = 2,    // command line or campaign file
  kPlugin = 3,   // a plugin was refused or misbehaved
  kInput = 4,    // a model, image, fault list or run directory is missing, corrupt or does not fit
  kGate = 5,     // `report --fail-if`: what was asked for does not hold
  kInterrupted = 75,  // stopped early; `bitfall resume` goes on
};

/// A set-up problem. what() is a sentence or several lines: what, where (path:line:column or name),
/// what to do. Thrown anywhere, caught once in main. What a fault does (masked, mismatch, NaN) is
/// data, never an Error.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

}  // namespace bitfall
