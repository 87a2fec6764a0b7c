// A run whose n-th call to the disk goes wrong, for every n: what was committed is there, nothing
// else is, and the run goes on to the result of an undisturbed one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cstdlib>

#include "error.h"
#include "fault_vfs.h"
#include "run_fixture.h"
#include "store.h"

namespace bitfall::store_fault_test {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kTrials = 24;
constexpr std::int64_t kEvery = 8;

/// Of a child, in memory that both see.
struct Told {
  std::int64_t calls = 0;      // to the disk
  std::int64_t committed = 0;  // trials of which commit() returned
  bool finished = false;
  bool stopped = false;  // by an Error
};

Told& shared_memory() {
  static void* memory =
      ::mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return *static_cast<Told*>(memory);
}

void run_all(const fs::path& directory, Told& told) {
  RunDescription run = small_run(kTrials);
  std::unique_ptr<Store> store = Store::create(directory, run, kTrials);
  for (std::int32_t image = 0; image < 5; ++image) {
    store->golden({image, 0.25, image % 3, 0.5f, 0.24, image % 2});
  }
  for (std::int64_t id = 0; id < kTrials; ++id) {
    store->trial(wild_trial(id, kTrials));
    if ((id + 1) % kEvery == 0) {
      store->commit();
      told.committed = id + 1;
    }
  }
  run.facts.finished = "now";
  store->finish(run.facts);
  told.finished = true;
}

/// The campaign in a child on a faulty disk.
Told disturbed(const fs::path& directory, Fault fault, std::int64_t at, bool rollback) {
  Told& told = shared_memory();
  told = {};
  const pid_t child = ::fork();
  if (child == 0) {
    FaultVfs disk(fault, at, rollback);
    try {
      run_all(directory, told);
    } catch (const Error&) {
      told.stopped = true;
    }
    told.calls = disk.calls();
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) &&
              (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == FaultVfs::kEnded))
      << "call " << at << ": status " << status;
  return told;
}

void go_on(const fs::path& directory) {
  const bool there = fs::exists(directory / "campaign.sqlite");
  auto store =
      there ? Store::open(directory, kEvery) : Store::create(directory, small_run(kTrials), kEvery);
  const auto done = store->trials_done();
  for (std::int32_t image = 0; image < 5; ++image) {
    store->golden({image, 0.25, image % 3, 0.5f, 0.24, image % 2});
  }
  for (std::int64_t id = 0; id < kTrials; ++id) {
    if (!done[static_cast<std::size_t>(id)]) store->trial(wild_trial(id, kTrials));
  }
  RunFacts facts = store->facts();
  facts.finished = "now";
  store->finish(facts);
}

struct Case {
  const char* name;
  Fault fault;
  bool rollback;
  int step;  // between the calls that are tried; BITFALL_FAULT_ALL=1: all
};

class StoreFault : public testing::TestWithParam<Case> {};

TEST_P(StoreFault, LosesNothingAtAnyCall) {
  const auto [name, fault, rollback, usual] = GetParam();
  const int step = std::getenv("BITFALL_FAULT_ALL") ? 1 : usual;
  const std::string want = wild_store(fresh_directory("reference"), kTrials)->digest();
  const fs::path directory = fresh_directory("run");
  const Told whole = disturbed(directory, Fault::kNone, 0, rollback);
  ASSERT_TRUE(whole.finished);
  ASSERT_GT(whole.calls, 40);
  int finished = 0, unfinished = 0, absent = 0;
  for (std::int64_t at = 0; at < whole.calls; at += step) {
    SCOPED_TRACE("call " + std::to_string(at) + " of " + std::to_string(whole.calls));
    fs::remove_all(directory);
    const Told told = disturbed(directory, fault, at, rollback);
    if (!fs::exists(directory / "campaign.sqlite")) {
      ASSERT_EQ(told.committed, 0);
      ++absent;
    } else {
      const auto store = Store::open_read_only(directory);
      const std::int64_t done = store->count_done();
      // synchronous = NORMAL: with a log, the last commits may be lost with the power, in their
      // order.
      if (fault != Fault::kPowerLoss || rollback) {
        ASSERT_GE(done, told.committed);
      }
      ASSERT_EQ(done % kEvery, 0);
      std::int64_t next = 0;
      store->for_each_trial([&](const TrialResult& trial) {
        ASSERT_EQ(trial.trial, next);
        ASSERT_TRUE(same_result(trial, wild_trial(next++, kTrials)));
      });
      store->facts().finished ? ++finished : ++unfinished;
    }
    go_on(directory);
    ASSERT_EQ(Store::open_read_only(directory)->digest(), want);
    ASSERT_FALSE(fs::exists(directory / "campaign.sqlite.new"));
  }
  std::printf("%s: %lld calls: %d finished, %d to be resumed, %d not begun\n", name,
              static_cast<long long>(whole.calls), finished, unfinished, absent);
  EXPECT_GT(unfinished, 0);
}

INSTANTIATE_TEST_SUITE_P(Disk, StoreFault,
                         testing::Values(Case{"error, log", Fault::kError, false, 3},
                                         Case{"error, journal", Fault::kError, true, 5},
                                         Case{"full, log", Fault::kFull, false, 5},
                                         Case{"full, journal", Fault::kFull, true, 9},
                                         Case{"short, log", Fault::kShort, false, 5},
                                         Case{"short, journal", Fault::kShort, true, 9},
                                         Case{"kill, log", Fault::kKill, false, 3},
                                         Case{"kill, journal", Fault::kKill, true, 5},
                                         Case{"power, log", Fault::kPowerLoss, false, 2},
                                         Case{"power, journal", Fault::kPowerLoss, true, 3}));

}  // namespace
}  // namespace bitfall::store_fault_test
