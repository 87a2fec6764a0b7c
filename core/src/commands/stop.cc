#include "stop.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>

namespace bitfall {
namespace {

std::atomic<bool> interrupted{false};

void on_signal(int signal) {
  // Not by _exit, which would lay it to a plugin that is just being called.
  if (signal == SIGINT && interrupted.exchange(true)) ::syscall(SYS_exit_group, 130);
  stop_requested = true;
}

}  // namespace

std::atomic<bool> stop_requested{false};

void catch_stops() {
  struct sigaction action{};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
}

void end_with_parent() {
  const pid_t parent = ::getppid();
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) stop_requested = true;  // it ended in between
}

}  // namespace bitfall
