// Threads that share one piece of work.
#pragma once

#include <cstdint>
#include <functional>
#include <thread>

#include "error.h"

namespace bitfall {

/// The system has no thread to give.
struct NoThread : Error {
  using Error::Error;
};

/// From here on each thread that is started below calls this first: what a library keeps for each
/// thread by itself. Null: nothing.
void set_thread_start(void (*start)());

/// A thread that runs `work`, which must not throw. Throws NoThread.
std::jthread start_thread(std::function<void()> work);

/// Runs `work` `workers` times in parallel, one of them on this thread, and returns when all have
/// ended. What the first of them threw is thrown here. Where a thread cannot be started, no work is
/// begun at all: throws NoThread.
void run_on(std::int64_t workers, const std::function<void()>& work);

}  // namespace bitfall
