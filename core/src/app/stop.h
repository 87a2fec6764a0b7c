// Ctrl-C: a stoppable command ends what it has begun.
#pragma once

#include <atomic>

namespace bitfall {

/// Set by SIGINT and SIGTERM once catch_stops() was called: long work finishes its pass and
/// returns.
extern std::atomic<bool> stop_requested;

/// From here on the first SIGINT or SIGTERM sets stop_requested, and the second ends the process
/// with exit code 130.
void catch_stops();

}  // namespace bitfall
