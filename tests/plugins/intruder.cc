// Does what it should not as soon as its file is loaded: leaves a mark where $INTRUDER_MARK says,
// makes subnormal numbers 0, and crashes where $INTRUDER_CRASH is set. A file of a search path that
// nobody asks for must not.
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "echo.h"
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace {

using namespace bitfall;

const bool kDone = [] {
  if (const char* mark = std::getenv("INTRUDER_MARK")) {
    if (std::FILE* file = std::fopen(mark, "a")) std::fclose(file);
  }
#if defined(__x86_64__)
  _mm_setcsr(_mm_getcsr() | 0x8040U);
#endif
  if (std::getenv("INTRUDER_CRASH") != nullptr) std::raise(SIGSEGV);
  std::puts("here I am");
  return true;
}();

constexpr Component<Metric> kIntruder{
    "intruder", "Should not run", {}, [](const Options&) -> Metric* { return new Echo; }};
constexpr About kAbout{.name = "intruder",
                       .version = "1.0",
                       .summary = "runs where it is not asked to",
                       .group = "strangers",
                       .licence = "MIT"};

}  // namespace

BITFALL_PLUGIN_ABOUT(kAbout, kIntruder);
