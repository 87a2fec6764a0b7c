#include "trials_ahead.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "error.h"
#include "run_fixture.h"
#include "trial_rows.h"

namespace bitfall::trials_ahead_test {
namespace {

namespace fs = std::filesystem;

// Everything of a trial, in words.
std::string told(const TrialResult& trial) {
  TrialHash hash;
  hash.add(trial);
  return std::to_string(trial.trial) + " " + trial.message + " " + hash.hex();
}

// Around the borders of batches of 1024, of which two go round.
TEST(TrialsAhead, AreThoseOfTheStoreInItsOrder) {
  for (const std::int64_t trials : {1, 1023, 1024, 1025, 2048, 3000, 6145}) {
    const auto store = wild_store(fresh_directory("run"), trials);
    std::vector<std::string> plain, ahead;
    store->for_each_trial([&](const TrialResult& trial) { plain.push_back(told(trial)); });
    for_each_trial_ahead(*store, [&](const TrialResult& trial) { ahead.push_back(told(trial)); });
    EXPECT_EQ(ahead, plain) << trials;
  }
}

TEST(TrialsAhead, EndsWithWhatTheReaderOfThemThrows) {
  const auto store = wild_store(fresh_directory("run"), 9000);
  for (const std::int64_t last : {0, 1023, 1024, 5000, 8999}) {
    std::int64_t seen = 0;
    const auto read = [&](const TrialResult& trial) {
      ++seen;
      if (trial.trial == last) throw std::runtime_error("enough");
    };
    EXPECT_THROW(for_each_trial_ahead(*store, read), std::runtime_error);
    EXPECT_EQ(seen, last + 1);
  }
}

TEST(TrialsAhead, TellsOfDamageAfterTheTrialsBeforeIt) {
  const fs::path directory = fresh_directory("run");
  wild_store(directory, 3000).reset();
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open((directory / "campaign.sqlite").c_str(), &database), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(database, "UPDATE trials SET outcome = 99 WHERE trial = 2500", nullptr,
                         nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(database);
  const auto store = Store::open_read_only(directory);
  std::int64_t seen = 0;
  EXPECT_THROW(for_each_trial_ahead(*store, [&](const TrialResult&) { ++seen; }), Error);
  EXPECT_EQ(seen, 2500);
}

}  // namespace
}  // namespace bitfall::trials_ahead_test
