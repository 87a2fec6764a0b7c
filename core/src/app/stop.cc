#include "stop.h"

#include <csignal>
#include <cstdlib>

namespace bitfall {
namespace {

void on_signal(int) {
  if (stop_requested.exchange(true)) std::_Exit(130);
}

}  // namespace

std::atomic<bool> stop_requested{false};

void catch_stops() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace bitfall
