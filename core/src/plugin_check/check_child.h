// Runs code that may do anything in a process of its own, and says what became of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace bitfall {

/// A check has found something: a sentence without its subject, "gives 3 for 0.5, then 4".
class CheckFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class CheckVerdict {
  kPass,
  kFail,   // a promise is not kept
  kCrash,  // a signal
  kHang,   // it did not end in time
  kExit,   // it ended the process
};
/// "pass", "FAIL", "CRASH", "HANG", "EXIT"
const char* to_string(CheckVerdict verdict);

struct ChildLimits {
  double call_s = 10;                            // of one call of a plugin's code
  double total_s = 60;                           // of everything
  std::size_t memory = std::size_t{4096} << 20;  // bytes beyond what the process has
};

struct ChildEnd {
  CheckVerdict verdict = CheckVerdict::kPass;
  std::string text;  // what `work` gave, or why the verdict is another
  double seconds = 0;
};

/// Runs `work` in a child: without a core file, its standard output and error caught. What it
/// throws is kFail with the text, what it prints on standard output, too. Throws Error(kFailure)
/// where the system gives no process.
ChildEnd run_in_child(const std::function<std::string()>& work, const ChildLimits& limits);

/// In a child: what `work` gives in a process of its own that is as this one is now. Empty where it
/// throws or does not end well.
std::vector<std::uint64_t> in_another_process(
    const std::function<std::vector<std::uint64_t>()>& work);

/// In a child, on its first thread: what is tried just now, told where it then crashes: "encode of
/// 3 x 5 values".
void now_trying(const std::string& what);

/// In a child: a word on what passed, such as how much of it was tried.
void note(const std::string& what);
const std::string& noted();

/// While it lives, the same is told with it: "encode of 3 x 5 values with bits = 3".
class TryingWith {
 public:
  explicit TryingWith(const std::string& what);
  ~TryingWith();
  TryingWith(const TryingWith&) = delete;
  TryingWith& operator=(const TryingWith&) = delete;
};

}  // namespace bitfall
