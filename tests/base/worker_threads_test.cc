#include "worker_threads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

#include "error.h"
#include "no_threads.h"

namespace bitfall::worker_threads_test {
namespace {

TEST(WorkerThreads, WorkRunsOnceForEachWorkerOnAThreadOfItsOwn) {
  for (const int workers : {1, 2, 7}) {
    std::mutex mutex;
    std::multiset<std::thread::id> ran;
    std::atomic<int> arrived = 0;
    run_on(workers, [&] {
      for (++arrived; arrived < workers;) std::this_thread::yield();  // all are there at one time
      const std::lock_guard lock(mutex);
      ran.insert(std::this_thread::get_id());
    });
    EXPECT_EQ(ran.size(), workers);
    EXPECT_EQ(std::set(ran.begin(), ran.end()).size(), workers);
    EXPECT_EQ(ran.count(std::this_thread::get_id()), 1);
  }
}

// Ended the process: an exception of this thread destroyed threads that still ran, one of another
// thread was not caught.
TEST(WorkerThreads, WhatAWorkerThrowsIsThrownToTheCallerAfterAllHaveEnded) {
  constexpr int kWorkers = 4;
  for (int failing = 0; failing < kWorkers; ++failing) {
    std::atomic<int> next = 0, ended = 0;
    const auto caller = std::this_thread::get_id();
    const auto work = [&] {
      // The caller's thread is worker 0, so that it fails too.
      const int worker = std::this_thread::get_id() == caller ? 0 : ++next;
      if (worker == failing) throw std::runtime_error("worker " + std::to_string(worker));
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      ++ended;
    };
    try {
      run_on(kWorkers, work);
      ADD_FAILURE() << "nothing thrown by worker " << failing;
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(error.what(), std::string("worker ") + std::to_string(failing));
    }
    EXPECT_EQ(ended, kWorkers - 1);
  }
}

TEST(WorkerThreads, OneOfSeveralExceptionsIsThrown) {
  std::atomic<int> thrown = 0;
  EXPECT_THROW(run_on(4,
                      [&] {
                        ++thrown;
                        throw std::bad_alloc();
                      }),
               std::bad_alloc);
  EXPECT_EQ(thrown, 4);
}

TEST(WorkerThreads, AThreadThatCannotBeStartedIsToldAndNoWorkBegins) {
  const NoThreads limited;
  int ran = 0;
  const auto work = [&] { ++ran; };
  try {
    run_on(3, work);
    ADD_FAILURE() << "nothing thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kFailure);
    EXPECT_THAT(error.what(), testing::HasSubstr("a thread cannot be started: "));
  }
  EXPECT_EQ(ran, 0);
  run_on(1, work);
  EXPECT_EQ(ran, 1);
}

// As under ulimit -v: some threads are there already, and wait, when the next one fails.
TEST(WorkerThreads, ThreadsThatWaitForTheOthersEndWhenOneCannotBeStarted) {
#ifdef BITFALL_ASAN
  GTEST_SKIP() << "the sanitizer needs the address space itself";
#endif
  const auto limited = [] {
    std::ifstream statm("/proc/self/statm");
    rlim_t pages = 0;
    statm >> pages;
    const rlim_t bytes = pages * static_cast<rlim_t>(getpagesize()) + (std::size_t{100} << 20);
    const rlimit space{bytes, bytes};
    setrlimit(RLIMIT_AS, &space);
    std::atomic<int> ran = 0;
    try {
      run_on(1000, [&] { ++ran; });
    } catch (const Error& error) {
      std::fprintf(stderr, "%s after %d ran\n", error.what(), ran.load());
      std::_Exit(7);
    }
    std::_Exit(8);
  };
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(limited(), testing::ExitedWithCode(7), "cannot be started.* after 0 ran");
}

}  // namespace
}  // namespace bitfall::worker_threads_test
