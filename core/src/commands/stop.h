// Ctrl-C: a stoppable command ends what it has begun.
#pragma once

#include <atomic>

namespace bitfall {

/// Set by SIGINT, SIGTERM and SIGUSR1 once catch_stops() was called: long work finishes its pass
/// and returns.
extern std::atomic<bool> stop_requested;

/// From here on SIGINT, SIGTERM and SIGUSR1 set stop_requested; a second SIGINT, as of an impatient
/// person, ends the process with exit code 130. Schedulers send several of the others.
void catch_stops();

/// From here on the end of the thread that started this process is a SIGTERM.
void end_with_parent();

}  // namespace bitfall
