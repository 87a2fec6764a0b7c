// Runs that were changed after they had finished, and stores by somebody else.
#include "seal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <chrono>
#include <fstream>
#include <set>
#include <sstream>

#include "error.h"
#include "run_fixture.h"
#include "store.h"

namespace bitfall::seal_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

constexpr std::int64_t kTrials = 120;

/// A run that has finished, closed.
fs::path finished_run(const std::string& name) {
  const fs::path directory = fresh_directory(name);
  const auto store = wild_store(directory, kTrials);
  RunFacts facts = store->facts();
  facts.finished = "2026-01-31T00:00:00Z";
  store->finish(facts);
  return directory;
}

void sql(const fs::path& directory, const std::string& change) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open((directory / "campaign.sqlite").c_str(), &database), SQLITE_OK);
  char* message = nullptr;
  EXPECT_EQ(sqlite3_exec(database, change.c_str(), nullptr, nullptr, &message), SQLITE_OK)
      << change << ": " << message;
  sqlite3_free(message);
  sqlite3_close(database);
}

/// Everything that a reader gets of a run, or the Error with "refused: " before it.
std::string all_of(const fs::path& directory) {
  try {
    const auto store = Store::open_read_only(directory);
    const RunDescription run = store->description();
    std::ostringstream out;
    export_csv(*store, out);
    out << store->digest() << run.campaign_text << run.fault_list_text << run.campaign_file
        << run.trials;
    for (const auto& [key, value] : told(run.facts)) out << key << '=' << value << '\n';
    for (const std::string& name : run.classes) out << name << '\n';
    for (std::size_t i = 0; i < run.labels.size(); ++i) out << run.image_names[i] << run.labels[i];
    for (const Site& site : run.sites)
      out << site.name << site.operation << site.values << site.refusal;
    for (const Stratum& s : run.strata)
      out << s.entry << s.site << s.population << s.trials << s.permanent;
    for (const StoredColumn& c : run.metric_columns)
      out << c.name << c.metric << c.unit << int(c.kind);
    for (const SiteProfile& p : run.profiles) out << p.golden.minimum << p.golden.maximum;
    for (const GoldenResult& g : store->golden_rows()) {
      out << g.image << ' ' << g.loss << ' ' << g.top1 << ' ' << g.top2diff << ' ' << g.fp32_loss
          << ' ' << g.fp32_top1 << '\n';
    }
    store->for_each_trial([&](const TrialResult& trial) {
      for (const EditRecord& record : trial.edits) out << int(record.bit_class);
    });
    return out.str();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kInput) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(directory.string()));
    return "refused: " + std::string(error.what());
  }
}

TEST(Seal, IsThereWhenARunHasFinishedAndGoneWhenItGoesOn) {
  const fs::path directory = fresh_directory("run");
  auto store = wild_store(directory, kTrials);
  EXPECT_FALSE(store->sealed());
  const std::string digest = store->digest();
  store->finish(store->facts());
  EXPECT_TRUE(store->sealed());
  EXPECT_EQ(store->digest(), digest);
  store.reset();
  EXPECT_TRUE(Store::open_read_only(directory)->sealed());
  store = Store::open(directory, 10);
  store->trial(without_answer(wild_trial(3, kTrials), Outcome::kHung, "again"));
  store->commit();
  EXPECT_NE(store->digest(), digest);
  EXPECT_FALSE(Store::open_read_only(directory)->sealed());
}

// Each changes one thing that some reader shows.
TEST(Seal, FindsEveryChange) {
  const std::string changes[] = {
      "UPDATE trials SET faulty_loss = faulty_loss + 1 WHERE outcome = 3 AND trial = (SELECT "
      "min(trial) FROM trials WHERE outcome = 3 AND faulty_loss IS NOT NULL)",
      "DELETE FROM trials WHERE trial = 7; DELETE FROM more_edits WHERE trial = 7",
      "UPDATE trials SET element = NULL WHERE trial = (SELECT max(t.trial) FROM trials t LEFT JOIN "
      "more_edits e ON e.trial = t.trial WHERE e.trial IS NULL)",
      "DELETE FROM more_edits WHERE trial = (SELECT max(trial) FROM more_edits)",
      "UPDATE trials SET mask = mask + 1 WHERE trial = 9",
      "UPDATE trials SET bit_class = 1 - bit_class WHERE trial = 9",
      "UPDATE messages SET text = 'x' WHERE id = 1",
      "UPDATE golden SET loss = 0.5 WHERE image = 1",
      "UPDATE golden SET fp32_top1 = 2 WHERE image = 1",
      "DELETE FROM golden WHERE image = 1",
      "UPDATE images SET label = 1 WHERE id = 0",
      "UPDATE images SET name = 'x' WHERE id = 0",
      "UPDATE classes SET name = 'x' WHERE id = 0",
      "UPDATE sites SET name = 'x' WHERE id = 0",
      "UPDATE sites SET values_ = 37 WHERE id = 0",
      "UPDATE strata SET population = 3 WHERE id = 0",
      "UPDATE registers SET bits = 15 WHERE id = 0",
      "UPDATE register_bits SET class = 0 WHERE bit = 3",
      "UPDATE metric_columns SET unit = 'x' WHERE id = 0",
      "UPDATE campaign SET text = 'x'",
      "UPDATE facts SET value = '8' WHERE key = 'batch'",
      "UPDATE facts SET value = 'x' WHERE key = 'finished'",
      "UPDATE facts SET value = 'x' WHERE key = 'digest'",
      "DELETE FROM facts WHERE key = 'digest'"};
  const fs::path original = finished_run("original");
  const fs::path copy = fresh_directory("copy");
  for (const std::string& change : changes) {
    fs::remove_all(copy);
    fs::copy(original, copy, fs::copy_options::recursive);
    sql(copy, change);
    EXPECT_THAT(all_of(copy),
                AllOf(HasSubstr("refused: "), HasSubstr("was changed after the run had finished")))
        << change;
  }
}

// A reader's own index, view or table changes nothing that the program reads.
TEST(Seal, AllowsWhatReadersAdd) {
  const fs::path directory = finished_run("run");
  const std::string before = all_of(directory);
  sql(directory,
      "CREATE INDEX by_site ON trials(site); CREATE VIEW mine AS SELECT 1; CREATE TABLE "
      "notes(text); "
      "VACUUM");
  EXPECT_EQ(all_of(directory), before);
  EXPECT_THAT(before, testing::Not(HasSubstr("refused")));
}

// The page of findings: of 400 bits that were flipped 145 went unseen.
TEST(Seal, FindsFlippedBits) {
  const fs::path original = finished_run("original");
  const std::string before = all_of(original);
  ASSERT_THAT(before, testing::Not(HasSubstr("refused")));
  std::ifstream file(original / "campaign.sqlite", std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  file.close();
  const fs::path copy = fresh_directory("copy");
  fs::create_directories(copy);
  int refused = 0;
  for (std::size_t bit = 5; bit < 8 * bytes.size(); bit += 3989) {
    std::string changed = bytes;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
      fs::remove(copy / ("campaign.sqlite" + std::string(suffix)));
    }
    std::ofstream(copy / "campaign.sqlite", std::ios::binary) << changed;
    std::string after = all_of(copy);
    refused += after.starts_with("refused: ");
    EXPECT_TRUE(after.starts_with("refused: ") || after == before) << "bit " << bit;
  }
  EXPECT_GT(refused, 30);  // the others lie in free space, or in what no command reads
}

struct Hostile {
  const char* change;
  const char* why;
};

// Of a run that has not finished, so that nothing but its own checks stands between it and a
// reader.
TEST(Store, RefusesWhatStandsForNothing) {
  const Hostile cases[] = {
      {"UPDATE campaign SET trials = -1", "plans -1 trials"},
      {"UPDATE sites SET shape = '[1e300]' WHERE id = 0", "'[1e300]' is not the list that belongs"},
      {"UPDATE campaign SET trials = 1152921504606846976", "plans 1152921504606846976 trials"},
      {"UPDATE strata SET trials = -5 WHERE id = 0", "and others in its strata"},
      {"UPDATE strata SET trials = 9223372036854775807 WHERE id = 0", "and others in its strata"},
      {"UPDATE trials SET trial = -7 WHERE trial = 7", "holds trial -7 of 120 planned ones"},
      {"UPDATE trials SET trial = 120 WHERE trial = 7", "holds trial 120 of 120 planned ones"},
      {"UPDATE trials SET site = 3 WHERE trial = 7", "trial 7 has the site 3"},
      {"UPDATE trials SET image = -1 WHERE trial = 7", "trial 7 has the image -1"},
      {"UPDATE trials SET entry = 1000000 WHERE trial = 7", "trial 7 has the entry 1000000"},
      {"UPDATE trials SET faulty_loss = 'much' WHERE trial = 7",
       "trial 7 has no number as its loss"},
      {"UPDATE trials SET delta_loss = 'x' WHERE trial = 7",
       "trial 7 has no number as its measured number"},
      {"UPDATE trials SET delta_loss = x'00' WHERE trial = 7",
       "trial 7 has no number as its measured number"},
      {"UPDATE trials SET faulty_loss = 2147483648 WHERE trial = 7",
       "trial 7 has no number as its loss"},
      {"UPDATE trials SET golden_top1 = 2 WHERE trial = 7", "trial 7 has the golden loss"},
      {"UPDATE trials SET golden_top1 = 1, golden_loss = 0.5 WHERE trial = 7",
       "trial 7 has the golden loss 0.5 and top-1 1, but its image has 0.25 and 1"},
      {"DELETE FROM golden WHERE image = 1", "is of image 1, which has no golden result"},
      {"UPDATE trials SET outcome = 2, faulty_top1 = NULL WHERE trial = 7",
       "trial 7 is top1_changed, but its top-1 is"},
      {"UPDATE trials SET outcome = 1, faulty_top1 = 5 WHERE trial = 7",
       "trial 7 is top1_same, but its top-1 is"},
      {"UPDATE trials SET outcome = 0, faulty_top1 = NULL, faulty_loss = 1.25 WHERE trial = 7",
       "trial 7 is masked, but has another loss than golden"},
      {"DELETE FROM trials WHERE trial = (SELECT min(trial) FROM more_edits)",
       "it holds edits of trial "},
      {"DELETE FROM trials WHERE trial >= (SELECT max(trial) FROM more_edits)",
       "it holds edits of trial "},
      {"UPDATE trials SET element = NULL WHERE trial = (SELECT min(trial) FROM more_edits)",
       "lacks its first edit"},
      {"UPDATE golden SET image = 1000000000 WHERE image = 1",
       "is of image 1, which has no golden result"},
      {"UPDATE strata SET site = 99 WHERE id = 0", "a stratum is of entry 0 and site 99"},
      {"UPDATE strata SET entry = -1 WHERE id = 0", "a stratum is of entry -1"},
      {"UPDATE register_bits SET class = 99 WHERE bit = 3", "has a bit of class 99"},
      {"UPDATE metric_columns SET kind = 9 WHERE id = 0", "is of kind 9"},
      {"UPDATE sites SET format = 4 WHERE id = 0", "has no format 4"},
      {"DELETE FROM campaign", "has no campaign"},
      {"ALTER TABLE facts RENAME TO old; CREATE VIEW facts AS WITH RECURSIVE n(x) AS (SELECT 1 "
       "UNION ALL "
       "SELECT x + 1 FROM n) SELECT x AS key, x AS value FROM n",
       "lacks a table of a campaign"},
      {"DROP TABLE golden", "lacks a table of a campaign"}};
  for (const Hostile& one : cases) {
    const fs::path directory = fresh_directory("run");
    wild_store(directory, kTrials).reset();
    sql(directory, one.change);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_THAT(all_of(directory), AllOf(HasSubstr("refused: "), HasSubstr(one.why))) << one.change;
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5)) << one.change;
  }
}

// A trigger would change results on their way into the file.
TEST(Store, RunsNoTriggers) {
  const fs::path directory = fresh_directory("run");
  Store::create(directory, small_run(kTrials), 16).reset();
  sql(directory,
      "CREATE TRIGGER t AFTER INSERT ON trials BEGIN UPDATE trials SET outcome = 0 WHERE trial = "
      "new.trial; END");
  const auto store = Store::open(directory, 16);
  for (std::int64_t id = 0; id < kTrials; ++id) store->trial(wild_trial(id, kTrials));
  store->commit();
  EXPECT_EQ(store->digest(), wild_store(fresh_directory("other"), kTrials)->digest());
}

TEST(Store, WritesThroughNoLink) {
  const fs::path directory = fresh_directory("run"), elsewhere = fresh_directory("elsewhere");
  wild_store(elsewhere, kTrials).reset();
  fs::create_directories(directory);
  fs::create_symlink(elsewhere / "campaign.sqlite", directory / "campaign.sqlite");
  try {
    Store::open(directory, 16);
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("campaign.sqlite: is a symbolic link"));
  }
  EXPECT_EQ(Store::open_read_only(directory)->count_done(), kTrials);  // reading is no harm
  // What is created takes the place of links, and goes through none.
  const fs::path victim = fresh_directory("victim");
  fs::create_directories(victim);
  for (const char* name :
       {"campaign.sqlite.new", "campaign.sqlite-wal", "campaign.sqlite-journal"}) {
    std::ofstream(victim / name) << "precious";
    fs::create_symlink(victim / name, directory / name);
  }
  Store::create(directory, small_run(10), 10, Store::Existing::kReplace)->trial(wild_trial(3, 10));
  for (const char* name :
       {"campaign.sqlite.new", "campaign.sqlite-wal", "campaign.sqlite-journal"}) {
    std::ifstream file(victim / name);
    std::string text;
    EXPECT_TRUE(std::getline(file, text) && text == "precious") << name;
  }
  EXPECT_EQ(Store::open_read_only(elsewhere)->count_done(), kTrials);
  // A run below a folder that is a link is a run.
  const fs::path linked = fresh_directory("linked");
  fs::create_directory_symlink(fresh_directory("true").parent_path(), linked);
  Store::create(linked / "bitfall_below", small_run(10), 10, Store::Existing::kReplace)
      ->trial(wild_trial(3, 10));
  EXPECT_EQ(Store::open_read_only(linked / "bitfall_below")->count_done(), 1);
  fs::remove_all(linked / "bitfall_below");
  fs::remove(linked);
}

}  // namespace
}  // namespace bitfall::seal_test
