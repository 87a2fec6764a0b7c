// bitfall-torch: every command, with LibTorch, whose loading takes a fifth of a second.
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "all_commands.h"
#include "program_main.h"

namespace {

/// What LibTorch set up before main it takes down operator by operator, a third of a short
/// command's time, in memory that goes anyway. What ends later things, as plugins, has run by then.
void leave(int status, void*) {
  std::cout.flush();
  std::clog.flush();
  std::fflush(nullptr);
  ::_exit(status);
}

}  // namespace

int main(int argc, char** argv) {
#if defined(__GLIBC__) && defined(NDEBUG)
  // Profilers and the like that are loaded ahead have their own to do at the end.
  if (::getenv("LD_PRELOAD") == nullptr) ::on_exit(leave, nullptr);
#endif
  return bitfall::program_main(argc, argv, bitfall::all_commands());
}
