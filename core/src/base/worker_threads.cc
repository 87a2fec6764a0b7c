#include "worker_threads.h"

#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

namespace bitfall {

namespace {
std::atomic<void (*)()> thread_start{nullptr};
}  // namespace

void set_thread_start(void (*start)()) { thread_start = start; }

std::jthread start_thread(std::function<void()> work) {
  try {
    return std::jthread([work = std::move(work)] {
      if (void (*start)() = thread_start.load()) start();
      work();
    });
  } catch (const std::system_error& error) {
    throw NoThread(ExitCode::kFailure, std::string("a thread cannot be started: ") +
                                        error.code().message() +
                                        "; fewer workers and threads need less, or raise the "
                                        "limits of processes and memory (ulimit -u, ulimit -v)");
  }
}

void run_on(std::int64_t workers, const std::function<void()>& work) {
  enum class Start { kWait, kGo, kNever };
  std::atomic<Start> start = Start::kWait;
  std::mutex mutex;
  std::exception_ptr problem;
  const auto guarded = [&] {
    try {
      work();
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!problem) problem = std::current_exception();
    }
  };
  const auto release = [&](Start how) {
    start = how;
    start.notify_all();
  };
  {
    std::vector<std::jthread> others;
    try {
      for (std::int64_t i = 1; i < workers; ++i) {
        others.push_back(start_thread([&] {
          start.wait(Start::kWait);
          if (start == Start::kGo) guarded();
        }));
      }
    } catch (...) {
      release(Start::kNever);
      throw;
    }
    release(Start::kGo);
    guarded();
  }  // joins
  if (problem) std::rethrow_exception(problem);
}

}  // namespace bitfall
