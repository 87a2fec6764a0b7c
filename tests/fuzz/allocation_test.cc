// Readers where memory runs out at the n-th allocation, for all n: a result, an Error or
// std::bad_alloc, which the program reports; no leak and no end of the process. The store's writer
// keeps what was committed. Left out is what goes through nlohmann_json or toml++: their
// constructors are noexcept, so that the process ends there (and what was committed is kept, as
// after any end).
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <new>
#include <set>

#include "error.h"
#include "run_fixture.h"
#include "store.h"
#include "targets.h"

namespace {

bool armed = false;
bool fired = false;
std::int64_t left = 0;

bool fails() {
  if (!armed || left-- > 0) return false;
  armed = false;
  fired = true;
  return true;
}

}  // namespace

// Not inlined: the compiler would take malloc and delete for a pair that does not match.
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (fails()) throw std::bad_alloc();
  void* memory = std::malloc(size > 0 ? size : 1);
  if (!memory) throw std::bad_alloc();
  return memory;
}
void* operator new[](std::size_t size) { return operator new(size); }
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace bitfall {
namespace {

namespace fs = std::filesystem;

/// Calls `work` with the n-th allocation failing, for every n up to 300 and every seventh or so
/// beyond, until it runs to its end. Returns how many failed.
template <typename Work>
int with_failures(Work work) {
  int failures = 0;
  for (std::int64_t n = 0;; n += n < 300 ? 1 : 7 + n / 20) {
    left = n;
    fired = false;
    armed = true;
    try {
      work();
    } catch (const Error&) {
    } catch (const std::bad_alloc&) {
    }
    armed = false;
    if (!fired) return failures;
    ++failures;
  }
}

class OutOfMemory : public testing::TestWithParam<const FuzzTarget*> {};

TEST_P(OutOfMemory, EndsWithAResultOrAnException) {
  const FuzzTarget& target = *GetParam();
  const fs::path folder = fs::path(testing::TempDir()) /
                          ("bitfall_memory_" + std::to_string(::getpid()) + "_" + target.name);
  fs::create_directories(folder);
  const std::string seed = target.seeds().back();
  const fs::path file = folder / target.file;
  const auto put = [&] {
    std::ofstream(file, std::ios::binary)
        .write(seed.data(), static_cast<std::streamsize>(seed.size()));
  };
  put();
  try {
    target.read(file);  // what is made once
  } catch (const Error&) {
  }
  int failures = 0;
  failures = with_failures([&] {
    const bool was = std::exchange(armed, false);
    put();  // the store's reader takes the file away
    armed = was;
    target.read(file);
  });
  EXPECT_GT(failures, 0);
  fs::remove_all(folder);
}

std::vector<const FuzzTarget*> all_readers() {
  std::vector<const FuzzTarget*> targets;
  const std::set<std::string> through_libraries = {
      "safetensors",      "model_card",     "descriptions",  "file_list",
      "file_list_json",   "campaign",       "training",      "store",
      "store_cells",      "class_map",      "plan",          "shard_note",
      "exported_program", "exported_graph", "pack_manifest", "pack"};
  for (const FuzzTarget& target : fuzz_targets()) {
    if (!through_libraries.contains(target.name)) targets.push_back(&target);
  }
  return targets;
}

INSTANTIATE_TEST_SUITE_P(Readers, OutOfMemory, testing::ValuesIn(all_readers()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST(StoreOutOfMemory, LosesNoCommittedTrial) {
  constexpr std::int64_t kTrials = 24;
  const fs::path directory = fresh_directory("run");
  std::int64_t committed = 0;
  const int failures = with_failures([&] {
    const bool was = std::exchange(armed, false);
    if (fs::exists(directory / "campaign.sqlite")) {
      const auto store = Store::open_read_only(directory);
      EXPECT_GE(store->count_done(), committed);
      store->for_each_trial([&](const TrialResult& trial) {
        EXPECT_TRUE(same_result(trial, wild_trial(trial.trial, kTrials)));
      });
    }
    fs::remove_all(directory);
    committed = 0;
    const RunDescription run = small_run(kTrials);
    const auto store = Store::create(directory, run, kTrials);
    armed = was;
    for (std::int64_t id = 0; id < kTrials; ++id) {
      store->trial(wild_trial(id, kTrials));
      if (id % 8 != 7) continue;
      store->commit();
      committed = id + 1;
    }
  });
  EXPECT_GT(failures, 5);
}

}  // namespace
}  // namespace bitfall
