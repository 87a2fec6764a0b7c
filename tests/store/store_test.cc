#include "store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <csignal>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "atomic_file.h"
#include "error.h"
#include "numbers.h"
#include "run_fixture.h"
#include "sha256.h"

namespace bitfall::store_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

template <typename Call>
Error error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return Error(ExitCode::kDone, "no error");
}

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::uint64_t bits(double value) {
  return std::isnan(value) ? 0x7FF8000000000000u : std::bit_cast<std::uint64_t>(value);
}
std::uint32_t bits(float value) {
  return std::isnan(value) ? 0x7FC00000u : std::bit_cast<std::uint32_t>(value);
}

void expect_equal(const TrialResult& a, const TrialResult& b) {
  EXPECT_EQ(a.trial, b.trial);
  EXPECT_EQ(a.entry, b.entry);
  EXPECT_EQ(a.site, b.site);
  EXPECT_EQ(a.image, b.image);
  EXPECT_EQ(a.outcome, b.outcome);
  EXPECT_EQ(a.activated, b.activated);
  EXPECT_EQ(bits(a.golden_loss), bits(b.golden_loss));
  EXPECT_EQ(bits(a.faulty_loss), bits(b.faulty_loss));
  EXPECT_EQ(a.golden_top1, b.golden_top1);
  EXPECT_EQ(a.faulty_top1, b.faulty_top1);
  EXPECT_EQ(a.message, b.message);
  ASSERT_EQ(a.metrics.size(), b.metrics.size());
  for (std::size_t i = 0; i < a.metrics.size(); ++i)
    EXPECT_EQ(bits(a.metrics[i]), bits(b.metrics[i]));
  ASSERT_EQ(a.edits.size(), b.edits.size());
  for (std::size_t i = 0; i < a.edits.size(); ++i) {
    const EditRecord& x = a.edits[i];
    const EditRecord& y = b.edits[i];
    EXPECT_EQ(x.edit.element, y.edit.element);
    EXPECT_EQ(x.edit.register_index, y.edit.register_index);
    EXPECT_EQ(x.edit.operation, y.edit.operation);
    EXPECT_EQ(x.edit.mask, y.edit.mask);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(x.edit.value),
              std::bit_cast<std::uint32_t>(y.edit.value));
    EXPECT_EQ(x.code_before, y.code_before);
    EXPECT_EQ(x.code_after, y.code_after);
    EXPECT_EQ(bits(x.value_before), bits(y.value_before));
    EXPECT_EQ(bits(x.value_after), bits(y.value_after));
  }
}

// Runs `work` in a child process; the exit status as waitpid gives it.
template <typename Work>
int in_child(Work work) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      work();
      ::_exit(0);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      ::_exit(99);
    }
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

// What an unmodified SQLite shell would answer.
std::string sql(const fs::path& file, const std::string& query) {
  sqlite3* database = nullptr;
  EXPECT_EQ(sqlite3_open(file.c_str(), &database), SQLITE_OK);
  std::string answer;
  char* message = nullptr;
  const auto collect = [](void* out, int columns, char** values, char**) {
    for (int i = 0; i < columns; ++i) {
      *static_cast<std::string*>(out) +=
          (i ? "|" : "") + std::string(values[i] ? values[i] : "NULL");
    }
    *static_cast<std::string*>(out) += "\n";
    return 0;
  };
  EXPECT_EQ(sqlite3_exec(database, query.c_str(), collect, &answer, &message), SQLITE_OK)
      << message;
  sqlite3_free(message);
  sqlite3_close(database);
  return answer;
}

// The rows of a query, real numbers as their bits.
std::string number_bits(const fs::path& file, const std::string& query) {
  sqlite3* database = nullptr;
  sqlite3_stmt* row = nullptr;
  EXPECT_EQ(sqlite3_open(file.c_str(), &database), SQLITE_OK);
  EXPECT_EQ(sqlite3_prepare_v2(database, query.c_str(), -1, &row, nullptr), SQLITE_OK)
      << sqlite3_errmsg(database);
  std::string answer;
  while (sqlite3_step(row) == SQLITE_ROW) {
    for (int i = 0; i < sqlite3_column_count(row); ++i) {
      const int type = sqlite3_column_type(row, i);
      answer += type == SQLITE_NULL    ? "NULL|"
                : type == SQLITE_FLOAT ? std::to_string(bits(sqlite3_column_double(row, i))) + "|"
                                       : std::to_string(sqlite3_column_int64(row, i)) + "|";
    }
    answer += "\n";
  }
  sqlite3_finalize(row);
  sqlite3_close(database);
  return answer;
}

TEST(Sha256, OfPublishedVectors) {
  // FIPS 180-4 examples.
  EXPECT_EQ(sha256_text("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_text(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_text("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256, OfAFileLargerThanTheBuffer) {
  const fs::path path = fs::path(testing::TempDir()) / "bitfall_sha256";
  // FIPS 180-4: a million times 'a'.
  std::ofstream(path) << std::string(1'000'000, 'a');
  EXPECT_EQ(sha256_file(path), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, NamesTheFileThatItCannotRead) {
  const Error missing = error_of([] { sha256_file("/nowhere/model.pt"); });
  EXPECT_EQ(missing.code(), ExitCode::kInput);
  EXPECT_STREQ(missing.what(), "/nowhere/model.pt: cannot be read: No such file or directory");
  const Error folder = error_of([] { sha256_file(testing::TempDir()); });
  EXPECT_EQ(folder.code(), ExitCode::kInput);
  EXPECT_THAT(folder.what(), HasSubstr("Is a directory"));
}

TEST(ExactText, ReadsBackToTheSameBits) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 20'000; ++i) {
    const auto value = std::bit_cast<double>(random());
    EXPECT_EQ(bits(std::strtod(exact_text(value).c_str(), nullptr)), bits(value));
    const auto single = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    EXPECT_EQ(bits(std::strtof(exact_text(single).c_str(), nullptr)), bits(single));
  }
}

TEST(ExactText, IsShort) {
  EXPECT_EQ(exact_text(0.1), "0.1");
  EXPECT_EQ(exact_text(0.1f), "0.1");
  EXPECT_EQ(exact_text(-0.0), "-0");
  EXPECT_EQ(exact_text(kInf), "inf");
  EXPECT_EQ(exact_text(-kInf), "-inf");
  EXPECT_EQ(exact_text(std::copysign(kNan, -1.0)), "nan");
}

TEST(Store, GivesTheDescriptionBack) {
  const fs::path directory = fresh_directory("run") / "nested" / "run";
  RunDescription run = small_run(100);
  run.fault_list_text = "site,image\n\"a,b\",c\n";
  const auto check = [&](const RunDescription& read) {
    EXPECT_EQ(told(read.facts), told(run.facts));
    EXPECT_EQ(read.campaign_text, run.campaign_text);
    EXPECT_EQ(read.campaign_file, run.campaign_file);
    EXPECT_EQ(read.fault_list_text, run.fault_list_text);
    EXPECT_EQ(read.classes, run.classes);
    EXPECT_EQ(read.image_names, run.image_names);
    EXPECT_EQ(read.labels, run.labels);
    ASSERT_EQ(read.formats.size(), run.formats.size());
    for (std::size_t f = 0; f < run.formats.size(); ++f) {
      EXPECT_EQ(read.formats[f].id, run.formats[f].id);
      EXPECT_EQ(read.formats[f].options, run.formats[f].options);
      ASSERT_EQ(read.formats[f].registers.size(), run.formats[f].registers.size());
      for (std::size_t i = 0; i < run.formats[f].registers.size(); ++i) {
        const StoredRegister& kind = run.formats[f].registers[i];
        EXPECT_EQ(read.formats[f].registers[i].name, kind.name);
        EXPECT_EQ(read.formats[f].registers[i].bits, kind.bits);
        EXPECT_EQ(read.formats[f].registers[i].bit_classes, kind.bit_classes);
      }
    }
    EXPECT_EQ(read.site_formats, run.site_formats);
    EXPECT_EQ(read.trials, 100);
    ASSERT_EQ(read.sites.size(), 3u);
    ASSERT_EQ(read.profiles.size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(read.sites[i].name, run.sites[i].name);
      EXPECT_EQ(read.sites[i].aliases, run.sites[i].aliases);
      EXPECT_EQ(read.sites[i].target, run.sites[i].target);
      EXPECT_EQ(read.sites[i].operation, run.sites[i].operation);
      EXPECT_EQ(read.sites[i].shape, run.sites[i].shape);
      EXPECT_EQ(read.sites[i].values, run.sites[i].values);
      EXPECT_EQ(read.sites[i].refusal, run.sites[i].refusal);
      EXPECT_EQ(read.profiles[i].metadata, run.profiles[i].metadata);
      EXPECT_EQ(bits(read.profiles[i].golden.minimum), bits(run.profiles[i].golden.minimum));
      EXPECT_EQ(bits(read.profiles[i].golden.maximum), bits(run.profiles[i].golden.maximum));
      EXPECT_EQ(read.strata[i].entry, run.strata[i].entry);
      EXPECT_EQ(read.strata[i].site, run.strata[i].site);
      EXPECT_EQ(read.strata[i].population, run.strata[i].population);
      EXPECT_EQ(read.strata[i].trials, run.strata[i].trials);
    }
    ASSERT_EQ(read.metric_columns.size(), 2u);
    EXPECT_EQ(read.metric_columns[1].name, "odd \"name\"");
    EXPECT_EQ(read.metric_columns[1].metric, "other");
    EXPECT_EQ(read.metric_columns[1].kind, ColumnKind::kEvent);
    EXPECT_EQ(read.metric_columns[0].unit, "nats");
  };
  check(Store::create(directory, run, 64)->description());
  check(Store::open(directory, 64)->description());
  check(Store::open_read_only(directory)->description());
  EXPECT_EQ(content_of(directory / "campaign.toml"), run.campaign_text);
  EXPECT_EQ(content_of(directory / "faults.csv"), run.fault_list_text);
}

TEST(Store, KeepsEveryBitOfTrials) {
  const fs::path directory = fresh_directory("run");
  constexpr std::int64_t kFirstUnsafe = (std::int64_t{1} << 53) + 1;  // no double holds it
  RunDescription run = small_run(100);
  run.trials = kFirstUnsafe + 1;
  run.strata[2].trials = run.trials - run.strata[0].trials - run.strata[1].trials;
  auto store = Store::create(directory, run, 64);
  TrialResult trial;
  trial.trial = kFirstUnsafe;
  trial.entry = 1;
  trial.site = 2;
  trial.image = 4;
  trial.outcome = Outcome::kNonfinite;
  trial.activated = true;
  trial.golden_loss = -0.0;
  trial.faulty_loss = kNan;
  trial.golden_top1 = 2;
  trial.faulty_top1 = 1;
  trial.metrics = {-kInf, 5e-324};
  const float floats[] = {-0.0f,
                          1e-45f,
                          3.4028235e38f,
                          -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN(),
                          0.1f};
  for (const float value : floats) {
    EditRecord record;
    record.edit.element = kFirstUnsafe;
    record.edit.operation = EditOperation::kValue;
    record.edit.register_index = 1;
    record.edit.mask = 0xFFFFFFFFu;
    record.edit.value = value;
    record.code_before = 0x80000000u;
    record.code_after = 0xFFFFFFFFu;
    record.value_before = value;
    record.value_after = -value;
    trial.edits.push_back(record);
  }
  trial.edits[4].edit.value = std::bit_cast<float>(0xFFC12345u);  // a payload that must survive
  store->trial(trial);
  expect_equal(store->read_trial(kFirstUnsafe), trial);
  store.reset();
  expect_equal(Store::open_read_only(directory)->read_trial(kFirstUnsafe), trial);
}

TEST(Store, KeepsGoldenRowsAndFacts) {
  const fs::path directory = fresh_directory("run");
  auto store = Store::create(directory, small_run(10), 64);
  store->golden({3, kNan, 2, -0.0f, kInf, 1});
  store->golden({1, 0.1, 0, 0.75f, 0.2, 2});
  store->golden({3, 5e-324, 1, 1e-45f, -0.0, 0});  // replaces the first
  RunFacts facts = store->facts();
  EXPECT_FALSE(facts.wall_s);
  facts.wall_s = 12.5;
  facts.seed = 2;
  store->set_facts(facts);
  store.reset();
  store = Store::open_read_only(directory);
  const auto rows = store->golden_rows();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].image, 1);
  EXPECT_EQ(rows[1].image, 3);
  EXPECT_EQ(rows[1].loss, 5e-324);
  EXPECT_EQ(rows[1].top1, 1);
  EXPECT_EQ(rows[1].top2diff, 1e-45f);
  EXPECT_EQ(bits(rows[1].fp32_loss), bits(-0.0));
  EXPECT_EQ(rows[1].fp32_top1, 0);
  EXPECT_EQ(store->facts().wall_s, 12.5);
  EXPECT_EQ(store->facts().seed, 2U);
}

TEST(Store, GivesTrialsInTheOrderOfTheirIds) {
  const fs::path directory = fresh_directory("run");
  constexpr std::int64_t kTrials = 300;
  auto store = Store::create(directory, small_run(kTrials), 7);
  std::vector<std::int64_t> order(kTrials);
  for (std::int64_t i = 0; i < kTrials; ++i) order[static_cast<std::size_t>(i)] = i;
  std::shuffle(order.begin(), order.end(), std::mt19937_64(3));
  order.resize(200);
  for (const std::int64_t id : order) store->trial(wild_trial(id, kTrials));
  EXPECT_EQ(store->count_done(), 200);
  const std::vector<bool> done = store->trials_done();
  ASSERT_EQ(done.size(), 300u);
  std::sort(order.begin(), order.end());
  std::size_t next = 0;
  store->for_each_trial([&](const TrialResult& trial) {
    ASSERT_LT(next, order.size());
    expect_equal(trial, wild_trial(order[next++], kTrials));
  });
  EXPECT_EQ(next, 200u);
  for (std::int64_t id = 0; id < kTrials; ++id) {
    EXPECT_EQ(done[static_cast<std::size_t>(id)],
              std::binary_search(order.begin(), order.end(), id));
  }
}

TEST(Store, ReplacesATrialThatRunsAgain) {
  const fs::path directory = fresh_directory("run");
  auto store = Store::create(directory, small_run(50), 4);
  TrialResult trial = wild_trial(7, 50);
  trial.edits.resize(1);
  TrialResult longer = trial;
  longer.faulty_top1 = 0;
  longer.edits.assign(5, trial.edits[0]);
  store->trial(longer);
  store->trial(wild_trial(8, 50));
  store->trial(trial);
  EXPECT_EQ(store->count_done(), 2);
  expect_equal(store->read_trial(7), trial);
  store->commit();
  EXPECT_EQ(sql(directory / "campaign.sqlite", "SELECT count(*) FROM v_edits WHERE trial = 7"),
            "1\n");
}

TEST(Store, DigestDependsOnResultsAlone) {
  constexpr std::int64_t kTrials = 120;
  const auto first = wild_store(fresh_directory("a"), kTrials);
  const fs::path directory = fresh_directory("b");
  auto second = Store::create(directory, small_run(kTrials), 5);
  for (std::int64_t id = kTrials - 1; id >= 50; --id) second->trial(wild_trial(id, kTrials));
  EXPECT_NE(first->digest(), second->digest());
  second.reset();
  second = Store::open(directory, 1000);
  for (std::int64_t id = 0; id < 60; ++id) second->trial(wild_trial(id, kTrials));
  RunFacts facts = second->facts();
  facts.finished = "now";
  second->set_facts(facts);
  EXPECT_EQ(first->digest(), second->digest());
  EXPECT_EQ(Store::open_read_only(directory)->digest(), first->digest());
}

// Of runs that were stored by schema version 3, which knew no other outcomes.
TEST(Store, DigestOfTrialsWithAnswersIsTheSameAsEver) {
  auto store = Store::create(fresh_directory("run"), small_run(400), 64);
  for (std::int64_t id = 0; id < 400; ++id) store->trial(answered_trial(id, 400));
  EXPECT_EQ(store->digest(), "99f57488c01521c96f9c8882de275e8b1678a2db28fe7183fc5b7faba5bbb5cc");
}

TEST(Store, DigestSeesEveryNumber) {
  constexpr std::int64_t kTrials = 20;
  // Without golden results, so that a trial's own may be any.
  auto store = Store::create(fresh_directory("run"), small_run(kTrials), 64);
  for (std::int64_t id = 0; id < kTrials; ++id) store->trial(wild_trial(id, kTrials));
  std::vector<std::string> digests = {store->digest()};
  // A trial that may hold any number: what goes with an outcome is checked.
  std::int64_t id = 0;
  while (wild_trial(id, kTrials).outcome != Outcome::kNonfinite) ++id;
  const TrialResult original = store->read_trial(id);
  const auto digest_of = [&](auto change) {
    TrialResult changed = original;
    change(changed);
    store->trial(changed);
    digests.push_back(store->digest());
  };
  digest_of([](TrialResult& t) { t.entry = 1 - t.entry; });
  digest_of([](TrialResult& t) { t.site = 2; });
  digest_of([](TrialResult& t) { t.image = (t.image + 1) % 5; });
  digest_of([](TrialResult& t) {
    t.outcome = t.faulty_top1 == t.golden_top1 ? Outcome::kTop1Same : Outcome::kTop1Changed;
  });
  digest_of([](TrialResult& t) { t.activated = !t.activated; });
  digest_of([](TrialResult& t) { t.golden_loss = 0.25000000000000006; });
  digest_of([](TrialResult& t) { t.faulty_loss = 1e-300; });
  digest_of([](TrialResult& t) { t.golden_top1 += 1; });
  digest_of([](TrialResult& t) { t.faulty_top1 += 1; });
  digest_of([](TrialResult& t) { t.metrics[0] = 77; });
  digest_of([](TrialResult& t) { t.edits[0].edit.element += 1; });
  digest_of([](TrialResult& t) { t.edits[0].edit.register_index ^= 1; });
  digest_of([](TrialResult& t) { t.edits[0].edit.mask ^= 0x8000; });
  digest_of([](TrialResult& t) { t.edits[0].edit.value = 9; });
  digest_of([](TrialResult& t) {
    t.edits[0].edit.operation =
        static_cast<EditOperation>((int(t.edits[0].edit.operation) + 1) % 5);
  });
  digest_of([](TrialResult& t) { t.edits[0].code_before ^= 1; });
  digest_of([](TrialResult& t) { t.edits[0].code_after ^= 1; });
  digest_of([](TrialResult& t) { t.edits[0].value_before = 123; });
  digest_of([](TrialResult& t) { t.edits[0].value_after = 124; });
  digest_of([](TrialResult& t) { t.edits.push_back(t.edits[0]); });
  const std::size_t made = digests.size();
  std::sort(digests.begin(), digests.end());
  EXPECT_EQ(std::unique(digests.begin(), digests.end()) - digests.begin(),
            static_cast<std::ptrdiff_t>(made));
}

TEST(Store, SurvivesKill) {
  const fs::path directory = fresh_directory("run");
  constexpr std::int64_t kTrials = 5000, kKilledAt = 3333, kEvery = 100;
  const int status = in_child([&] {
    auto store = Store::create(directory, small_run(kTrials), kEvery);
    for (std::int64_t id = 0; id < kKilledAt; ++id) store->trial(wild_trial(id, kTrials));
    ::raise(SIGKILL);
  });
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_EQ(Store::open_read_only(directory)->count_done(), kKilledAt / kEvery * kEvery);

  auto store = Store::open(directory, kEvery);  // the lock died with its holder
  const std::vector<bool> done = store->trials_done();
  EXPECT_EQ(std::count(done.begin(), done.end(), true), kKilledAt / kEvery * kEvery);
  for (std::int64_t id = 0; id < kTrials; ++id) {
    if (!done[static_cast<std::size_t>(id)]) store->trial(wild_trial(id, kTrials));
  }
  store->commit();
  EXPECT_EQ(store->digest(), wild_store(fresh_directory("whole"), kTrials)->digest());
}

TEST(Store, SurvivesKillAtAnyMoment) {
  const fs::path directory = fresh_directory("run");
  constexpr std::int64_t kTrials = 1'000'000;
  Store::create(directory, small_run(kTrials), 16);
  for (int round = 0; round < 5; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto store = Store::open(directory, 16);
      const std::int64_t first = store->count_done();
      for (std::int64_t id = first; id < kTrials; ++id) store->trial(wild_trial(id, kTrials));
      ::_exit(0);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(40 + 23 * round));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const auto store = Store::open_read_only(directory);
    std::int64_t next = 0;
    store->for_each_trial([&](const TrialResult& trial) {
      ASSERT_EQ(trial.trial, next);
      expect_equal(trial, wild_trial(next++, kTrials));
    });
    EXPECT_EQ(next % 16, 0);
  }
  EXPECT_GT(Store::open_read_only(directory)->count_done(), 0);
  EXPECT_EQ(sql(directory / "campaign.sqlite", "PRAGMA integrity_check"), "ok\n");
}

TEST(Store, ShowsCommittedTrialsToAReaderWhileWriting) {
  const fs::path directory = fresh_directory("run");
  auto writer = Store::create(directory, small_run(100), 10);
  for (std::int64_t id = 0; id < 25; ++id) writer->trial(wild_trial(id, 100));
  auto reader = Store::open_read_only(directory);
  EXPECT_EQ(reader->count_done(), 20);
  EXPECT_EQ(writer->count_done(), 25);
  for (std::int64_t id = 25; id < 40; ++id) writer->trial(wild_trial(id, 100));
  EXPECT_EQ(reader->count_done(), 40);
  const Error error = error_of([&] { reader->trial(wild_trial(50, 100)); });
  EXPECT_THAT(error.what(), HasSubstr("reading only"));
  writer.reset();
  reader.reset();
  EXPECT_FALSE(fs::exists(directory / "campaign.sqlite-wal"));  // nothing is left lying about
}

TEST(Store, CommitsWhenItIsClosed) {
  const fs::path directory = fresh_directory("run");
  Store::create(directory, small_run(10), 1000)->trial(wild_trial(3, 10));
  EXPECT_EQ(Store::open_read_only(directory)->count_done(), 1);
}

TEST(Store, RefusesASecondWriter) {
  const fs::path directory = fresh_directory("run");
  const auto first = Store::create(directory, small_run(10), 10);
  const Error error = error_of([&] { Store::open(directory, 10); });
  EXPECT_EQ(error.code(), ExitCode::kInterrupted);  // later the same command may do
  std::array<char, 256> host{};
  ASSERT_EQ(::gethostname(host.data(), host.size() - 1), 0);
  EXPECT_THAT(error.what(), AllOf(HasSubstr(directory.string()),
                                  HasSubstr("process " + std::to_string(::getpid()) + " on " +
                                            host.data() + " is writing")));
  const int status = in_child([&] {
    const Error other = error_of([&] { Store::open(directory, 10); });
    if (other.code() != ExitCode::kInterrupted) throw std::runtime_error(other.what());
  });
  EXPECT_EQ(status, 0);
}

TEST(Store, RefusesADirectoryThatHoldsACampaign) {
  const fs::path directory = fresh_directory("run");
  Store::create(directory, small_run(10), 10)->trial(wild_trial(0, 10));
  const Error error = error_of([&] { Store::create(directory, small_run(10), 10); });
  EXPECT_EQ(error.code(), ExitCode::kUsage);
  EXPECT_EQ(error.what(),  // no option and no command that its caller may not have
            directory.string() + ": already holds a campaign; give another output folder");
  EXPECT_EQ(Store::open_read_only(directory)->count_done(), 1);
}

TEST(Store, ReplacesACampaign) {
  const fs::path directory = fresh_directory("run");
  RunDescription listed = small_run(10);
  listed.fault_list_text = "site,image\n";
  Store::create(directory, listed, 10)->trial(wild_trial(0, 10));
  std::ofstream(directory / "report.html") << "<html>" << kPageMark << "the old report";
  // A reader of the old run keeps its log from being written back and removed.
  const auto reader = Store::open_read_only(directory);
  EXPECT_EQ(reader->count_done(), 1);
  RunDescription other = small_run(20);
  other.campaign_text = "# another";
  auto store = Store::create(directory, other, 10, Store::Existing::kReplace);
  EXPECT_EQ(store->count_done(), 0);
  store->trial(wild_trial(7, 20));
  store.reset();
  EXPECT_EQ(reader->count_done(), 1);
  const auto read = Store::open_read_only(directory);
  EXPECT_EQ(read->description().trials, 20);
  EXPECT_EQ(read->count_done(), 1);
  expect_equal(read->read_trial(7), wild_trial(7, 20));
  EXPECT_EQ(content_of(directory / "campaign.toml"), "# another");
  EXPECT_FALSE(fs::exists(directory / "faults.csv"));
  EXPECT_FALSE(fs::exists(directory / "report.html"));
}

TEST(Store, ReplacesWhatIsNoCampaign) {
  const fs::path directory = fresh_directory("run");
  fs::create_directories(directory);
  for (const char* suffix : {"", "-wal", "-journal"}) {
    std::ofstream(directory / ("campaign.sqlite" + std::string(suffix))) << "torn";
  }
  Store::create(directory, small_run(10), 10, Store::Existing::kReplace)->trial(wild_trial(3, 10));
  EXPECT_EQ(Store::open_read_only(directory)->count_done(), 1);
}

TEST(Store, KeepsACampaignThatCannotBeReplaced) {
  const fs::path directory = fresh_directory("run");
  wild_store(directory, 50);
  const std::string digest = Store::open_read_only(directory)->digest();
  RunDescription taken = small_run(10);
  taken.metric_columns[0].name = "label";
  EXPECT_EQ(
      error_of([&] { Store::create(directory, taken, 10, Store::Existing::kReplace); }).code(),
      ExitCode::kPlugin);
  const int status = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{20'000, 20'000};  // as if the disk were full in the middle of the file
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const Error error =
        error_of([&] { Store::create(directory, small_run(10), 10, Store::Existing::kReplace); });
    if (error.code() != ExitCode::kFailure) throw std::runtime_error(error.what());
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(Store::open_read_only(directory)->digest(), digest);
  EXPECT_FALSE(fs::exists(directory / "campaign.sqlite.new"));
  EXPECT_EQ(content_of(directory / "campaign.toml"), small_run(10).campaign_text);
}

TEST(Store, KeepsTextsThatItDidNotWrite) {
  const fs::path directory = fresh_directory("run");
  RunDescription listed = small_run(10);
  listed.fault_list_text = "site,image\n";
  for (const char* name : {"campaign.toml", "faults.csv"}) {
    fs::remove_all(directory);
    fs::create_directories(directory);
    std::ofstream(directory / name) << "by hand";
    const Error error = error_of([&] { Store::create(directory, listed, 10); });
    EXPECT_EQ(error.code(), ExitCode::kUsage);
    EXPECT_THAT(error.what(), HasSubstr((directory / name).string() + ": is there already"));
    EXPECT_EQ(content_of(directory / name), "by hand");
    EXPECT_FALSE(fs::exists(directory / "campaign.sqlite"));
    EXPECT_EQ(std::distance(fs::directory_iterator(directory), {}), 2);  // and the lock
    Store::create(directory, listed, 10, Store::Existing::kReplace);
    EXPECT_EQ(content_of(directory / "faults.csv"), listed.fault_list_text);
  }
  // The same texts are nobody else's, as where a campaign file lies in its run directory.
  fs::remove(directory / "campaign.sqlite");
  Store::create(directory, listed, 10);
  // A page, and a list that belongs to no run, stay.
  std::ofstream(directory / "report.html") << "by hand";
  std::ofstream(directory / "faults.csv") << "another list";
  Store::create(directory, small_run(10), 10, Store::Existing::kReplace);
  EXPECT_EQ(content_of(directory / "report.html"), "by hand");
  EXPECT_EQ(content_of(directory / "faults.csv"), "another list");
}

// SQLite keeps a log beside the file and applies it to whatever has the file's name.
TEST(Store, TakesNothingFromLogsOfADeletedRun) {
  constexpr std::int64_t kTrials = 300;
  const fs::path reference = fresh_directory("reference");
  const std::string want = wild_store(reference, kTrials)->digest();
  for (const bool network : {false, true}) {  // log; rollback journal
    for (const bool deleted : {true, false}) {
      const fs::path directory = fresh_directory("run");
      const fs::path file = directory / "campaign.sqlite";
      const int status = in_child([&] {
        auto store = Store::create(directory, small_run(5000), 100);
        if (network) {
          store.reset();
          sql(file, "PRAGMA journal_mode = DELETE");
          sqlite3* database = nullptr;  // a commit that is cut off after its pages were written
          sqlite3_open(file.c_str(), &database);
          sqlite3_exec(database,
                       "PRAGMA cache_size = 1; BEGIN; UPDATE images SET name = name || 'x'; WITH "
                       "RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5000) "
                       "INSERT INTO classes SELECT 100 + x, hex(randomblob(100)) FROM n",
                       nullptr, nullptr, nullptr);
        } else {
          for (std::int64_t id = 0; id < 3000; ++id) store->trial(wild_trial(id, 5000));
        }
        ::raise(SIGKILL);
      });
      ASSERT_TRUE(WIFSIGNALED(status));
      ASSERT_TRUE(fs::exists(file.string() + (network ? "-journal" : "-wal")));
      if (deleted) fs::remove(file);
      const auto store =
          Store::create(directory, small_run(kTrials), 64,
                        deleted ? Store::Existing::kRefuse : Store::Existing::kReplace);
      for (std::int32_t image = 0; image < 5; ++image) {
        store->golden({image, 0.25, image % 3, 0.5f, 0.24, image % 2});
      }
      for (std::int64_t id = 0; id < kTrials; ++id) store->trial(wild_trial(id, kTrials));
      store->commit();
      EXPECT_EQ(store->digest(), want) << network << deleted;
      EXPECT_EQ(store->description().classes.size(), 3u);
      EXPECT_EQ(sql(file, "PRAGMA integrity_check"), "ok\n");
    }
  }
}

TEST(Store, CreatesACompleteRunAtOnce) {
  constexpr std::int64_t kTrials = 300;
  const fs::path directory = fresh_directory("run");
  const auto fill = [&](Store& store) {
    EXPECT_FALSE(fs::exists(directory / "campaign.sqlite"));
    for (std::int64_t id = 0; id < kTrials; ++id) store.trial(wild_trial(id, kTrials));
  };
  RunFacts facts = small_run(kTrials).facts;
  facts.finished = "now";
  const auto create = [&](const std::function<void(Store&)>& work) {
    Store::create_complete(directory, small_run(kTrials), Store::Existing::kRefuse, facts, work);
  };
  const auto fail = [](Store&) { throw Error(ExitCode::kInput, "no"); };
  EXPECT_STREQ(error_of([&] { create(fail); }).what(), "no");
  EXPECT_EQ(std::distance(fs::directory_iterator(directory), {}), 1);  // the lock
  // Killed in the middle, it leaves nothing in the way of the next try.
  const int status = in_child([&] {
    create([&](Store& store) {
      fill(store);
      ::raise(SIGKILL);
    });
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(fs::exists(directory / "campaign.sqlite"));
  create(fill);
  const auto store = Store::open_read_only(directory);
  EXPECT_TRUE(store->sealed());
  EXPECT_EQ(store->facts().finished, "now");
  EXPECT_EQ(store->count_done(), kTrials);
  EXPECT_FALSE(fs::exists(directory / "campaign.sqlite.new"));
  EXPECT_EQ(content_of(directory / "campaign.toml"), small_run(10).campaign_text);
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    names.insert(entry.path().filename().string());
  }
  EXPECT_THAT(names, testing::IsSubsetOf({"lock", "campaign.toml", "campaign.sqlite"}));
  EXPECT_EQ(error_of([&] { create(fill); }).code(), ExitCode::kUsage);
}

// Killed between the database and the texts beside it, which are for people.
TEST(Store, WritesMissingTextsWhenItGoesOn) {
  const fs::path directory = fresh_directory("run");
  RunDescription listed = small_run(10);
  listed.fault_list_text = "site,image\n";
  Store::create(directory, listed, 10);
  fs::remove(directory / "campaign.toml");
  fs::remove(directory / "faults.csv");
  Store::open(directory, 10);
  EXPECT_EQ(content_of(directory / "campaign.toml"), listed.campaign_text);
  EXPECT_EQ(content_of(directory / "faults.csv"), listed.fault_list_text);
}

TEST(Store, NamesADirectoryThatCannotBeMade) {
  const fs::path file = fresh_directory("file");
  std::ofstream(file) << "a file";
  const Error error = error_of([&] { Store::create(file / "run", small_run(10), 10); });
  EXPECT_EQ(error.code(), ExitCode::kFailure);
  EXPECT_THAT(error.what(), AllOf(HasSubstr((file / "run").string()), HasSubstr("cannot be made")));
}

TEST(Store, RefusesWhatIsNoRun) {
  const fs::path directory = fresh_directory("run");
  for (const bool missing : {true, false}) {
    if (!missing) fs::create_directories(directory);
    const Error error = error_of([&] { Store::open(directory, 10); });
    EXPECT_EQ(error.code(), ExitCode::kInput);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr(directory.string()), HasSubstr("no campaign.sqlite")));
  }
}

TEST(Store, RefusesForeignAndDamagedFiles) {
  const fs::path directory = fresh_directory("run");
  fs::create_directories(directory);
  const fs::path file = directory / "campaign.sqlite";
  const auto expect_refused = [&](const std::string& why) {
    for (const bool writing : {true, false}) {
      const Error error = error_of([&] {
        if (writing) {
          Store::open(directory, 10);
        } else {
          Store::open_read_only(directory);
        }
      });
      EXPECT_EQ(error.code(), ExitCode::kInput) << error.what();
      EXPECT_THAT(error.what(), AllOf(HasSubstr(file.string()), HasSubstr(why)));
    }
  };
  std::ofstream(file) << "";
  expect_refused("is empty");
  std::ofstream(file)
      << "This is a text, and long enough to be looked at as a database header, no?";
  expect_refused("is damaged or not a campaign");
  fs::remove(file);
  sql(file, "CREATE TABLE trials(x)");
  expect_refused("is an SQLite file, but not a campaign of Bitfall");
}

TEST(Store, RefusesAnotherSchemaVersionWithBothNumbers) {
  const fs::path directory = fresh_directory("run");
  Store::create(directory, small_run(10), 10);
  sql(directory / "campaign.sqlite", "PRAGMA user_version = 99");
  const Error error = error_of([&] { Store::open_read_only(directory); });
  EXPECT_EQ(error.code(), ExitCode::kInput);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("schema version 99"),
                                  HasSubstr("reads version " + std::to_string(kSchemaVersion))));
}

TEST(Store, RefusesATruncatedFile) {
  const fs::path directory = fresh_directory("run");
  wild_store(directory, 2000).reset();
  const fs::path file = directory / "campaign.sqlite";
  const auto size = fs::file_size(file);
  for (const double part : {0.9, 0.5, 0.1, 0.001}) {
    fs::resize_file(file, static_cast<std::uintmax_t>(part * static_cast<double>(size)));
    const Error error = error_of([&] {
      const auto store = Store::open_read_only(directory);
      store->description();
      store->for_each_trial([](const TrialResult&) {});
    });
    EXPECT_EQ(error.code(), ExitCode::kInput) << part << ": " << error.what();
    EXPECT_THAT(error.what(), HasSubstr(file.string()));
  }
}

TEST(Store, ReportsDamageWithinTheFile) {
  const fs::path directory = fresh_directory("run");
  wild_store(directory, 2000).reset();
  const fs::path file = directory / "campaign.sqlite";
  const auto size = static_cast<std::streamoff>(fs::file_size(file));
  std::mt19937_64 random(11);
  int refused = 0;
  for (int round = 0; round < 40; ++round) {
    const fs::path copy = fresh_directory("copy");
    fs::create_directories(copy);
    fs::copy_file(file, copy / "campaign.sqlite");
    {
      std::fstream stream(copy / "campaign.sqlite",
                          std::ios::in | std::ios::out | std::ios::binary);
      stream.seekp(static_cast<std::streamoff>(random() % static_cast<std::uint64_t>(size - 4096)));
      for (int i = 0; i < 2048; ++i) stream.put(static_cast<char>(random()));
    }
    try {
      const auto store = Store::open_read_only(copy);
      std::ostringstream out;
      export_csv(*store, out);  // either reads or throws Error; never anything else
    } catch (const Error& error) {
      ++refused;
      EXPECT_EQ(error.code(), ExitCode::kInput) << error.what();
    }
  }
  EXPECT_GT(refused, 20);
}

TEST(Store, RefusesGoldenResultsOfImagesThatDoNotExist) {
  for (const char* image : {"5", "-1", "5000000000"}) {
    const fs::path directory = fresh_directory("run");
    wild_store(directory, 20).reset();
    sql(directory / "campaign.sqlite",
        "UPDATE golden SET image = " + std::string(image) + " WHERE image = 2");
    const Error error = error_of([&] { Store::open_read_only(directory)->golden_rows(); });
    EXPECT_EQ(error.code(), ExitCode::kInput);
    EXPECT_THAT(error.what(), HasSubstr("a golden result is of image " + std::string(image)));
  }
}

TEST(Store, CommitsAsOftenAsItIsToldLast) {
  const fs::path directory = fresh_directory("run");
  Store::create(directory, small_run(20), 1000);
  const auto store = Store::open(directory, 1000);
  store->set_commit_every(3);
  const auto reader = Store::open_read_only(directory);
  for (std::int64_t id = 0; id < 7; ++id) {
    store->trial(wild_trial(id, 20));
    EXPECT_EQ(reader->count_done(), (id + 1) / 3 * 3) << id;
  }
}

TEST(Store, CountsOutcomes) {
  const auto store = wild_store(fresh_directory("run"), 300);
  OutcomeCounts counts{};
  for (std::int64_t id = 0; id < 300; ++id) {
    ++counts[static_cast<std::size_t>(wild_trial(id, 300).outcome)];
  }
  EXPECT_EQ(store->count_outcomes(), counts);
  EXPECT_GT(counts[static_cast<std::size_t>(Outcome::kCrashed)], 0);
  EXPECT_GT(counts[static_cast<std::size_t>(Outcome::kHung)], 0);
}

TEST(Store, KeepsAMessageOnceAndFitToBeShown) {
  const fs::path directory = fresh_directory("run");
  const fs::path file = directory / "campaign.sqlite";
  auto store = Store::create(directory, small_run(100), 10);
  for (std::int64_t id = 0; id < 50; ++id) {
    store->trial(
        without_answer(answered_trial(id, 100), Outcome::kCrashed, "\nfc: \x1B[1mno\nmore"));
  }
  const std::string shown = "fc: \xEF\xBF\xBD[1mno";
  EXPECT_EQ(store->read_trial(49).message, shown);
  // A trial that runs again may raise something else, or nothing.
  store->trial(without_answer(answered_trial(1, 100), Outcome::kHung, "x"));
  store->trial(answered_trial(2, 100));
  EXPECT_EQ(store->read_trial(1).message, "x");
  expect_equal(store->read_trial(2), answered_trial(2, 100));
  store->commit();
  EXPECT_EQ(sql(file, "SELECT text FROM messages ORDER BY text"), shown + "\nx\n");
}

TEST(Store, DigestSeesOutcomesButNoMessages) {
  constexpr std::int64_t kTrials = 20;
  const auto store = wild_store(fresh_directory("run"), kTrials);
  const std::string digest = store->digest();
  const TrialResult crashed = wild_trial(13, kTrials);
  ASSERT_EQ(crashed.outcome, Outcome::kCrashed);
  store->trial(without_answer(crashed, Outcome::kCrashed, "in other words"));
  EXPECT_EQ(store->digest(), digest);
  store->trial(without_answer(crashed, Outcome::kHung, crashed.message));
  EXPECT_NE(store->digest(), digest);
}

TEST(Store, RefusesTrialsThatContradictThemselves) {
  const fs::path file = fresh_directory("run") / "campaign.sqlite";
  ASSERT_EQ(wild_trial(4, 20).outcome, Outcome::kHung);
  ASSERT_FALSE(is_due(wild_trial(5, 20).outcome));
  const std::string outcome = to_string(wild_trial(5, 20).outcome);
  const std::pair<const char*, std::string> cases[] = {
      {"UPDATE trials SET outcome = 6 WHERE trial = 4", "trial 4 has the outcome 6"},
      {"UPDATE trials SET outcome = -1 WHERE trial = 4", "trial 4 has the outcome -1"},
      {"UPDATE trials SET message = 1 WHERE trial = 5",
       "trial 5 is " + outcome + ", but has a message"},
      {"UPDATE trials SET message = 77 WHERE trial = 4",
       "trial 4 has the message 77, which the run does not have"},
      {"UPDATE trials SET faulty_loss = 0 WHERE trial = 4", "trial 4 hung, but has an answer"},
      {"UPDATE trials SET faulty_top1 = 0 WHERE trial = 4", "trial 4 hung, but has an answer"},
      {"UPDATE trials SET faulty_top1 = -1 WHERE trial = 5",
       "trial 5 is " + outcome + ", but has no answer"}};
  for (const auto& [change, why] : cases) {
    wild_store(fresh_directory("run"), 20).reset();
    sql(file, change);
    const Error error = error_of([&] {
      Store::open_read_only(file.parent_path())->for_each_trial([](const TrialResult&) {});
    });
    EXPECT_EQ(error.code(), ExitCode::kInput) << change;
    EXPECT_THAT(error.what(), AllOf(HasSubstr(file.string() + ": is damaged"), HasSubstr(why)));
  }
}

TEST(Store, TakesNoTrialThatItWouldRefuse) {
  const auto store = Store::create(fresh_directory("run"), small_run(20), 10);
  TrialResult answer = without_answer(answered_trial(3, 20), Outcome::kCrashed, "fc: no");
  answer.faulty_top1 = 1;
  EXPECT_THAT(error_of([&] { store->trial(answer); }).what(),
              HasSubstr("cannot keep trial 3: it crashed, but has an answer"));
  TrialResult message = answered_trial(3, 20);
  message.message = "fc: no";
  EXPECT_THAT(error_of([&] { store->trial(message); }).what(), HasSubstr("but has a message"));
  EXPECT_EQ(store->count_done(), 0);
}

TEST(Store, RefusesOutcomesThatDoNotExist) {
  const fs::path directory = fresh_directory("run");
  wild_store(directory, 20).reset();
  sql(directory / "campaign.sqlite", "UPDATE trials SET outcome = 9 WHERE trial = 4");
  const Error error = error_of([&] { Store::open_read_only(directory)->read_trial(4); });
  EXPECT_EQ(error.code(), ExitCode::kInput);
  EXPECT_THAT(error.what(), HasSubstr("trial 4 has the outcome 9"));
}

TEST(Store, RefusesFactsThatMakeNoSense) {
  const fs::path directory = fresh_directory("run");
  Store::create(directory, small_run(10), 10);
  const fs::path file = directory / "campaign.sqlite";
  const auto refusal = [&](const std::string& change) {
    sql(file, change);
    const Error error = error_of([&] { Store::open_read_only(directory)->facts(); });
    EXPECT_EQ(error.code(), ExitCode::kInput);
    return std::string(error.what());
  };
  const auto refuse = [&](const std::string& key, const std::string& value,
                          const std::string& why) {
    const std::string kept = sql(file, "SELECT value FROM facts WHERE key = '" + key + "'");
    EXPECT_THAT(
        refusal("UPDATE facts SET value = '" + value + "' WHERE key = '" + key + "'"),
        AllOf(HasSubstr(file.string()), HasSubstr("the fact '" + key + "' is "), HasSubstr(why)));
    sql(file, "UPDATE facts SET value = trim('" + kept + "', char(10)) WHERE key = '" + key + "'");
  };
  refuse("confidence", "high", "'high', which makes no sense");
  refuse("confidence", "1.5", "1.5, but must be above 0 and under 1");
  refuse("clip", "-1", "-1, but must be above 0");
  refuse("clip", "10 nats", "'10 nats'");
  refuse("seed", "-1", "'-1'");
  refuse("hit_value", "cooked", "'cooked'");
  refuse("suffix", "yes", "'yes'");
  refuse("plugins", "p 1.0", "'p 1.0'");
  refuse("error_models", "[{\"id\": 1}]", "makes no sense");
  EXPECT_THAT(refusal("DELETE FROM facts WHERE key = 'batch'"),
              HasSubstr("the fact 'batch' is missing"));
}

TEST(Store, PassesOverFactsOfLaterVersions) {
  const fs::path directory = fresh_directory("run");
  Store::create(directory, small_run(10), 10);
  sql(directory / "campaign.sqlite", "INSERT INTO facts VALUES('weather', 'fine')");
  EXPECT_EQ(Store::open_read_only(directory)->facts().seed, 1U);
}

TEST(Store, SaysWhichTrialsThereAre) {
  const fs::path directory = fresh_directory("run");
  auto store = Store::create(directory, small_run(20), 10);
  store->trial(wild_trial(4, 20));
  EXPECT_THAT(error_of([&] { store->read_trial(5); }).what(), HasSubstr("was not run yet"));
  EXPECT_THAT(error_of([&] { store->read_trial(20); }).what(), HasSubstr("its trials are 0 to 19"));
  EXPECT_THAT(error_of([&] { store->read_trial(-1); }).what(), HasSubstr("has no trial -1"));
  EXPECT_EQ(error_of([&] { store->read_trial(5); }).code(), ExitCode::kInput);
}

TEST(Store, SaysThatATrialIsOfAnotherShard) {
  const fs::path directory = fresh_directory("run");
  RunDescription run = small_run(20);
  run.facts.shard = Shard{2, 4};
  auto store = Store::create(directory, run, 10);
  store->trial(wild_trial(4, 20));
  EXPECT_THAT(error_of([&] { store->read_trial(5); }).what(),
              AllOf(HasSubstr("of another shard than 2/4"), HasSubstr("or was not run yet")));
  run.facts.finished = "now";
  store->finish(run.facts);
  EXPECT_THAT(error_of([&] { store->read_trial(5); }).what(),
              AllOf(HasSubstr("of another shard than 2/4"), Not(HasSubstr("was not run"))));
}

TEST(Store, RefusesTrialsThatDoNotBelong) {
  const fs::path directory = fresh_directory("run");
  auto store = Store::create(directory, small_run(20), 10);
  EXPECT_THAT(error_of([&] { store->trial(wild_trial(20, 20)); }).what(), HasSubstr("trial 20"));
  TrialResult narrow = wild_trial(1, 20);
  narrow.metrics.pop_back();
  EXPECT_THAT(error_of([&] { store->trial(narrow); }).what(), HasSubstr("1 metric values"));
  store->trial(wild_trial(2, 20));
  EXPECT_EQ(store->count_done(), 1);
}

TEST(Store, RefusesMetricColumnsWithTakenNames) {
  for (const char* name : {"outcome", "Golden_Loss", "mask", "", "delta_LOSS", "message"}) {
    RunDescription run = small_run(10);
    run.metric_columns[1].name = name;
    const Error error = error_of([&] { Store::create(fresh_directory("run"), run, 10); });
    EXPECT_EQ(error.code(), ExitCode::kPlugin) << name;
    EXPECT_THAT(error.what(), HasSubstr("metric 'other'"));
  }
}

TEST(Store, ReportsAFullDiskAndKeepsWhatWasCommitted) {
  const fs::path directory = fresh_directory("run");
  constexpr std::int64_t kTrials = 100'000;
  const fs::path message_file = fresh_directory("message");
  const int status = in_child([&] {
    auto store = Store::create(directory, small_run(kTrials), 50);
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{600'000, 600'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const Error error = error_of([&] {
      for (std::int64_t id = 0; id < kTrials; ++id) store->trial(wild_trial(id, kTrials));
    });
    if (error.code() != ExitCode::kFailure) throw std::runtime_error(error.what());
    if (store->count_done() % 50 != 0) throw std::runtime_error("the open batch was not dropped");
    std::ofstream(message_file) << error.what();
    // What the process does next must not crash either.
    error_of([&] { store->commit(); });
  });
  ASSERT_EQ(status, 0);
  EXPECT_THAT(content_of(message_file),
              AllOf(HasSubstr((directory / "campaign.sqlite").string()),
                    testing::AnyOf(HasSubstr("full"), HasSubstr("File too large")),
                    HasSubstr("bitfall resume " + directory.string())));

  auto store = Store::open(directory, 50);  // the disk has room again
  const std::int64_t done = store->count_done();
  EXPECT_GT(done, 0);
  EXPECT_EQ(done % 50, 0);
  store->for_each_trial(
      [&](const TrialResult& trial) { expect_equal(trial, wild_trial(trial.trial, kTrials)); });
  store->trial(wild_trial(done, kTrials));
  store->commit();
  EXPECT_EQ(store->count_done(), done + 1);
}

TEST(Store, NoticesThatItsFileWasDeleted) {
  const fs::path directory = fresh_directory("run");
  auto store = Store::create(directory, small_run(20), 2);
  store->trial(wild_trial(0, 20));
  fs::remove(directory / "campaign.sqlite");
  const Error error = error_of([&] { store->trial(wild_trial(1, 20)); });
  EXPECT_EQ(error.code(), ExitCode::kFailure);
  EXPECT_THAT(error.what(), AllOf(HasSubstr((directory / "campaign.sqlite").string()),
                                  HasSubstr("was deleted or replaced")));
}

TEST(Store, LeavesNoHalfMadeFile) {
  // A process killed while it creates the file leaves another name, which the next one clears away.
  const fs::path directory = fresh_directory("run");
  fs::create_directories(directory);
  std::ofstream(directory / "campaign.sqlite.new") << "half";
  Store::create(directory, small_run(10), 10)->trial(wild_trial(0, 10));
  EXPECT_FALSE(fs::exists(directory / "campaign.sqlite.new"));
  EXPECT_EQ(Store::open_read_only(directory)->count_done(), 1);
}

TEST(Store, IdentifiesItsFile) {
  const fs::path directory = fresh_directory("run");
  Store::create(directory, small_run(10), 10);
  const fs::path file = directory / "campaign.sqlite";
  EXPECT_EQ(sql(file, "PRAGMA application_id"), std::to_string(0x4254464C) + "\n");
  EXPECT_EQ(sql(file, "PRAGMA user_version"), std::to_string(kSchemaVersion) + "\n");
  EXPECT_EQ(sql(file, "PRAGMA journal_mode"), "wal\n");
}

// Numbers are stored in as few bytes as hold them (number_cells.h); a view is plain SQL, run here
// by an SQLite that knows nothing of it.
TEST(Views, GiveEveryNumberToTheBit) {
  const fs::path directory = fresh_directory("run");
  constexpr std::int64_t kTrials = 600;
  wild_store(directory, kTrials).reset();
  std::string trials, edits;
  const auto number = [](double value) {  // SQLite has no NaN
    return std::isnan(value) ? std::string("NULL|") : std::to_string(bits(value)) + "|";
  };
  for (std::int64_t id = 0; id < kTrials; ++id) {
    const TrialResult trial = wild_trial(id, kTrials);
    trials += number(trial.golden_loss) + number(trial.faulty_loss) + number(trial.metrics[0]) +
              number(trial.metrics[1]) + std::to_string(trial.golden_top1) + "|" +
              std::to_string(trial.faulty_top1) + "|\n";
    for (const EditRecord& record : trial.edits) {
      edits += std::to_string(record.edit.element) + "|" + std::to_string(record.edit.mask) + "|" +
               std::to_string(record.code_before) + "|" + std::to_string(record.code_after) + "|" +
               number(record.edit.value) + number(record.value_before) +
               number(record.value_after) + "\n";
    }
  }
  const fs::path file = directory / "campaign.sqlite";
  EXPECT_EQ(number_bits(file,
                        "SELECT golden_loss, faulty_loss, delta_loss, \"odd \"\"name\"\"\", "
                        "golden_top1, faulty_top1 FROM v_trials ORDER BY trial"),
            trials);
  EXPECT_EQ(number_bits(file,
                        "SELECT element, mask, code_before, code_after, value, value_before, "
                        "value_after FROM v_edits ORDER BY trial, position"),
            edits);
}

TEST(Views, GiveEveryFloat32) {
  const fs::path directory = fresh_directory("run");
  const std::int64_t count = 1536;
  RunDescription run = small_run(count);
  run.metric_columns[1].name = "plain";
  auto store = Store::create(directory, run, 2000);
  std::string want;
  std::mt19937 random(5);
  for (std::int64_t id = 0; id < count; ++id) {
    // Every sign and exponent; no, all and some bits of the mantissa.
    const auto place = static_cast<std::uint32_t>(id);
    const std::uint32_t mantissa = place < 512    ? 0
                                   : place < 1024 ? 0x7FFFFF
                                                  : static_cast<std::uint32_t>(random()) & 0x7FFFFF;
    const float value = std::bit_cast<float>((place % 512) << 23 | mantissa);
    TrialResult trial = answered_trial(id, count);
    trial.metrics = {value, std::nextafter(static_cast<double>(value), 0)};
    trial.edits.resize(1);
    trial.edits[0].value_before = value;
    trial.edits[0].code_before = std::bit_cast<std::uint32_t>(value);
    store->trial(trial);
    expect_equal(store->read_trial(id), trial);
    for (const double each : {trial.metrics[0], trial.metrics[1], trial.metrics[0]}) {
      want += std::isnan(each) ? "NULL|" : std::to_string(bits(each)) + "|";
    }
    want += "\n";
  }
  store->commit();
  EXPECT_EQ(number_bits(directory / "campaign.sqlite",
                        "SELECT t.delta_loss, t.plain, e.value_before FROM v_trials t JOIN v_edits "
                        "e USING(trial) ORDER BY trial"),
            want);
}

// Bytes per trial of a finished run of FP32 trials with all first-party metrics, as long as they
// get. stride: they come as 0, stride, 2 stride, ..., 1, 1 + stride, ...
double bytes_per_trial(std::int64_t stride) {
  const fs::path directory = fresh_directory("run");
  constexpr std::int64_t kTrials = 20'000;
  RunDescription run = small_run(kTrials);
  for (int i = 0; i < 8; ++i) {
    run.metric_columns.push_back({"m" + std::to_string(i), "m", ColumnKind::kQuantity, "1"});
  }
  run.image_names.assign(50'000, "x");
  run.labels.assign(50'000, 0);
  auto store = Store::create(directory, run, 1000);
  std::mt19937_64 random(3);
  for (std::int32_t image = 0; image < 50'000; ++image) store->golden({image, 2.5, 500});
  store.reset();
  const auto before = fs::file_size(directory / "campaign.sqlite");
  store = Store::open(directory, 1000);
  for (std::int64_t i = 0; i < kTrials; ++i) {
    TrialResult trial;
    const std::int64_t rows = kTrials / stride;
    trial.trial = i % rows * stride + i / rows;
    trial.image = static_cast<std::int32_t>(random() % 50'000);
    trial.outcome = Outcome::kTop1Changed;
    trial.activated = true;
    trial.golden_loss = 2.5;
    trial.faulty_loss = std::exp(static_cast<double>(random() % 1000) / 300);
    trial.golden_top1 = 500;
    trial.faulty_top1 = static_cast<std::int32_t>(random() % 500);
    const double change = trial.faulty_loss - trial.golden_loss;
    const auto real = [&] { return static_cast<float>(std::exp(-double(random() % 999) / 99)); };
    trial.metrics = {std::abs(change), change, 1, 0, real(), real(), real(), real(), 1e-3 / 7, 0};
    EditRecord record;
    record.edit.element = static_cast<std::int64_t>(random() % 800'000);
    record.edit.mask = 1u << 30;
    record.value_before = real();
    record.code_before = std::bit_cast<std::uint32_t>(record.value_before);
    record.code_after = record.code_before ^ record.edit.mask;
    record.value_after = std::bit_cast<float>(record.code_after);
    record.bit_class = 1;
    trial.edits = {record};
    store->trial(trial);
  }
  RunFacts facts = run.facts;
  facts.finished = "2026-01-01T00:00:00Z";
  store->finish(facts);
  store.reset();
  EXPECT_TRUE(Store::open_read_only(directory)->sealed());
  const auto bytes = fs::file_size(directory / "campaign.sqlite");
  return static_cast<double>(bytes - before) / static_cast<double>(kTrials);
}

TEST(Store, TakesFewBytesPerTrialInWhateverOrderTheyCome) {
  const double in_order = bytes_per_trial(1);
  EXPECT_LT(in_order, 100);
  for (const std::int64_t stride : {50, 1000}) EXPECT_LT(bytes_per_trial(stride), 1.02 * in_order);
}

TEST(Views, AgreeWithTheTrials) {
  const fs::path directory = fresh_directory("run");
  constexpr std::int64_t kTrials = 400;
  wild_store(directory, kTrials).reset();
  const fs::path file = directory / "campaign.sqlite";
  ASSERT_EQ(wild_trial(300, kTrials).image, 1);  // the one named below
  std::int64_t masked = 0, crashed = 0, hung = 0, edits = 0, single = 0;
  for (std::int64_t id = 0; id < kTrials; ++id) {
    const TrialResult trial = wild_trial(id, kTrials);
    masked += trial.outcome == Outcome::kMasked;
    crashed += trial.outcome == Outcome::kCrashed;
    hung += trial.outcome == Outcome::kHung;
    edits += static_cast<std::int64_t>(trial.edits.size());
    const EditRecord& record = trial.edits[0];
    const bool whole = record.edit.operation >= EditOperation::kWrite;
    const std::uint32_t bits = whole ? record.code_before ^ record.code_after : record.edit.mask;
    single += trial.edits.size() == 1 && bits != 0;
  }
  EXPECT_EQ(sql(file, "SELECT count(*) FROM v_trials WHERE outcome = 'masked'"),
            std::to_string(masked) + "\n");
  EXPECT_EQ(sql(file,
                "SELECT sum(masked), sum(crashed), sum(hung), sum(trials), sum(masked + top1_same "
                "+ top1_changed + nonfinite + crashed + hung) FROM v_by_layer"),
            std::to_string(masked) + "|" + std::to_string(crashed) + "|" + std::to_string(hung) +
                "|400|400\n");
  EXPECT_EQ(sql(file, "SELECT count(*), count(message) FROM v_trials"),
            "400|" + std::to_string(crashed + hung) + "\n");
  EXPECT_EQ(sql(file,
                "SELECT outcome, faulty_loss, faulty_top1, delta_loss, message FROM v_trials "
                "WHERE trial IN (4, 13)"),
            "hung|NULL|-1|NULL|loop#1: did not end\n"
            "crashed|NULL|-1|NULL|2/table, \"T\": index 13 is out of bounds for dimension 0 with "
            "size 64\n");
  EXPECT_EQ(sql(file, "SELECT count(*) FROM v_edits"), std::to_string(edits) + "\n");
  EXPECT_EQ(sql(file, "SELECT sum(trials) FROM v_by_bit"), std::to_string(single) + "\n");
  EXPECT_EQ(sql(file, "SELECT count(DISTINCT class) FROM v_by_bit"), "4\n");
  EXPECT_EQ(sql(file,
                "SELECT site, target, operation, image, label, golden_loss, \"odd \"\"name\"\"\" "
                "FROM v_trials WHERE trial = 300"),
            "layer/linear#2|activation|linear|dog, large/1.png|1|0.25|1.0\n");
}

}  // namespace
}  // namespace bitfall::store_test
