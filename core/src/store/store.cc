#include "store.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "atomic_file.h"
#include "error.h"
#include "run_lock.h"
#include "sqlite.h"
#include "store_schema.h"
#include "trial_rows.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFileName = "campaign.sqlite";
constexpr std::chrono::seconds kLongest{5};  // that a crash may lose of a slow campaign
constexpr const char* kKept =
    "\nWhat was committed before is kept. When the cause is gone: bitfall resume ";

void make_directory(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) {
    throw Error(ExitCode::kFailure, directory.string() + ": cannot be made: " + error.message());
  }
}

// The write-ahead log lets a report read while a campaign writes, but needs memory shared by all
// readers, so it fails, or worse, seems to work, on network file systems.
void choose_journal(Database& database) {
  bool wal = false;
  if (!on_network(database.path())) {
    try {
      wal = database.text("PRAGMA journal_mode = WAL") == "wal";
    } catch (const Error& error) {
      if (error.code() == ExitCode::kInput) throw;  // damaged, not a matter of the journal
    }
  }
  if (!wal) database.text("PRAGMA journal_mode = TRUNCATE");
  database.execute(wal ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL");
  // Trials arrive in the order of passes, not of their numbers: pages all over the tables are
  // written again and again, and should not go to the disk each time. At most 128 and 64 MiB.
  database.text("PRAGMA cache_size = -131072");
  if (wal) database.text("PRAGMA wal_autocheckpoint = 16384");
}

fs::path with_suffix(const fs::path& path, const char* suffix) { return path.string() + suffix; }

// The file appears under its name complete or not at all, whenever the process is killed, and what
// had the name before stays until then. What SQLite keeps next to that belongs to it alone: it is
// written back first, since it would be applied to whatever file has the name.
void put_in_place(const fs::path& complete, const fs::path& path) {
  if (fs::exists(path)) {
    try {
      Database(path, Database::Mode::kWrite).text("PRAGMA wal_checkpoint(PASSIVE)");
    } catch (const Error&) {  // not a database: nothing to write back
    }
  }
  for (const char* suffix : {"-wal", "-shm", "-journal"}) fs::remove(with_suffix(path, suffix));
  fs::rename(complete, path);
}

void write_file(const fs::path& path, const RunDescription& run) {
  fs::remove(path);
  Database database(path, Database::Mode::kCreate);
  database.text("PRAGMA journal_mode = MEMORY");
  write_schema(database, run);
}

// The run's files, the database last: if one of them cannot be written, the database of an earlier
// run is still there.
void write_run(const fs::path& directory, const RunDescription& run) {
  const fs::path path = directory / kFileName;
  const fs::path complete = with_suffix(path, ".new");
  const bool replaces = fs::exists(path);
  std::error_code ignored;
  try {
    write_file(complete, run);
    write_file_atomically(directory / "campaign.toml", run.campaign_text);
    if (!run.fault_list_text.empty()) {
      write_file_atomically(directory / "faults.csv", run.fault_list_text);
    }
    put_in_place(complete, path);
  } catch (...) {
    fs::remove(complete, ignored);
    throw;
  }
  if (!replaces) return;
  if (run.fault_list_text.empty()) fs::remove(directory / "faults.csv", ignored);
  fs::remove(directory / "report.html", ignored);
}

fs::path existing_file(const fs::path& directory) {
  fs::path path = directory / kFileName;
  std::error_code error;
  if (!fs::exists(path, error)) {
    throw Error(ExitCode::kInput, directory.string() + ": is not a run directory: it has no " +
                                      kFileName + (error ? " (" + error.message() + ")" : ""));
  }
  if (fs::file_size(path, error) == 0 && !error) {
    throw Error(ExitCode::kInput, path.string() + ": is empty, so it is not a campaign");
  }
  return path;
}

Database open_for_reading(const fs::path& path) {
  // Write access is asked for first: it repairs what a killed writer left, and tidies up after
  // itself. Where that is refused, a reader must do without; the last way out reads a file on a
  // medium that nobody can write to.
  try {
    Database database(path, Database::Mode::kWrite);
    check_schema(database);
    database.execute("PRAGMA query_only = 1");
    return database;
  } catch (const Error& error) {
    if (error.code() == ExitCode::kInput) throw;
  }
  try {
    Database database(path, Database::Mode::kRead);
    check_schema(database);
    return database;
  } catch (const Error& error) {
    std::error_code ignored;
    const auto log_size = fs::file_size(path.string() + "-wal", ignored);
    if (error.code() == ExitCode::kInput || (!ignored && log_size > 0)) throw;
  }
  Database database(path, Database::Mode::kImmutable);
  check_schema(database);
  return database;
}

// What a writing store has in addition to the file.
struct Writer {
  Writer(const Database& database, std::size_t metrics)
      : trials(database, metrics),
        insert_golden(database, "INSERT OR REPLACE INTO golden VALUES(?,?,?,?,?,?)") {}

  TrialWriter trials;
  Statement insert_golden;
};

}  // namespace

struct Store::State {
  State(fs::path where, std::unique_ptr<RunLock> held, Database file)
      : directory(std::move(where)), lock(std::move(held)), database(std::move(file)) {
    planned = database.integer("SELECT trials FROM campaign");
    metrics = read_metric_columns(database).size();
  }

  void start_writing(std::int64_t every) {
    choose_journal(database);
    commit_every = every;
    writer.emplace(database, metrics);
  }

  void commit() {
    if (!database.in_transaction()) return;
    if (database.moved()) {
      throw Error(ExitCode::kFailure,
                  database.path().string() + ": was deleted or replaced while the campaign ran");
    }
    database.execute("COMMIT");
    pending = 0;
  }

  // Runs `write` within the open transaction; on failure drops the open batch.
  template <typename Write>
  void guarded(Write write) {
    if (!writer) throw Error(ExitCode::kFailure, directory.string() + ": is open for reading only");
    try {
      if (!database.in_transaction()) {
        database.execute("BEGIN IMMEDIATE");
        began = std::chrono::steady_clock::now();
      }
      write(*writer);
    } catch (const Error& error) {
      roll_back();
      throw Error(error.code(), error.what() + std::string(kKept) + shell_word(directory.string()));
    }
  }

  void roll_back() noexcept {
    pending = 0;
    try {
      if (database.in_transaction()) database.execute("ROLLBACK");
    } catch (const Error&) {
      // Nothing more can be done; SQLite undoes the batch when the file is next opened.
    }
  }

  fs::path directory;
  std::unique_ptr<RunLock> lock;
  Database database;
  std::int64_t planned = 0;
  std::size_t metrics = 0;
  std::int64_t commit_every = 1;  // trials
  std::int64_t pending = 0;
  std::chrono::steady_clock::time_point began;  // of the open transaction
  std::optional<Writer> writer;                 // absent when reading only
};

double RunDescription::bits(const Stratum& stratum) const {
  const auto site = static_cast<std::size_t>(stratum.site);
  const StoredFormat& format = formats[static_cast<std::size_t>(site_formats[site])];
  return static_cast<double>(sites[site].values) * format.registers.front().bits;
}

Store::Store(std::unique_ptr<State> state) : state_(std::move(state)) {}

std::unique_ptr<Store> Store::create(const fs::path& directory, const RunDescription& run,
                                     std::int64_t commit_every, Existing existing) {
  make_directory(directory);
  auto lock = std::make_unique<RunLock>(directory);
  const fs::path path = directory / kFileName;
  if (existing == Existing::kRefuse && fs::exists(path)) {
    throw Error(ExitCode::kUsage,
                directory.string() + ": already holds a campaign; give another output folder");
  }
  try {
    write_run(directory, run);
  } catch (const fs::filesystem_error& error) {
    throw Error(ExitCode::kFailure, path.string() + ": cannot be made: " + error.code().message());
  }
  auto state =
      std::make_unique<State>(directory, std::move(lock), Database(path, Database::Mode::kWrite));
  state->start_writing(commit_every);
  return std::unique_ptr<Store>(new Store(std::move(state)));
}

std::unique_ptr<Store> Store::open(const fs::path& directory, std::int64_t commit_every) {
  const fs::path path = existing_file(directory);
  auto lock = std::make_unique<RunLock>(directory);
  Database database(path, Database::Mode::kWrite);
  check_schema(database);
  auto state = std::make_unique<State>(directory, std::move(lock), std::move(database));
  state->start_writing(commit_every);
  return std::unique_ptr<Store>(new Store(std::move(state)));
}

std::unique_ptr<Store> Store::open_read_only(const fs::path& directory) {
  auto state =
      std::make_unique<State>(directory, nullptr, open_for_reading(existing_file(directory)));
  return std::unique_ptr<Store>(new Store(std::move(state)));
}

Store::~Store() {
  try {
    if (state_->writer) state_->commit();
  } catch (const Error&) {
    state_->roll_back();  // whoever needs to know calls commit() first
  }
}

void Store::golden(const GoldenResult& result) {
  state_->guarded([&](Writer& writer) {
    Statement& insert = writer.insert_golden;
    insert.bind(std::int64_t{result.image}).bind(result.loss).bind(std::int64_t{result.top1});
    insert.bind(static_cast<double>(result.top2diff)).bind(result.fp32_loss);
    insert.bind(std::int64_t{result.fp32_top1}).run();
  });
}

void Store::trial(const TrialResult& result) {
  state_->guarded([&](Writer& writer) {
    if (result.metrics.size() != state_->metrics || result.trial < 0 ||
        result.trial >= state_->planned) {
      throw Error(ExitCode::kFailure,
                  "trial " + std::to_string(result.trial) + " with " +
                      std::to_string(result.metrics.size()) + " metric values does not belong to " +
                      state_->directory.string() + " (" + std::to_string(state_->planned) +
                      " trials, " + std::to_string(state_->metrics) + " metric columns)");
    }
    if (const std::string wrong = contradiction(result); !wrong.empty()) {
      throw Error(ExitCode::kFailure, state_->directory.string() + ": cannot keep trial " +
                                          std::to_string(result.trial) + ": it " + wrong);
    }
    writer.trials.write(result);
    ++state_->pending;
    const bool late = std::chrono::steady_clock::now() - state_->began >= kLongest;
    if (late || state_->pending >= state_->commit_every) state_->commit();
  });
}

void Store::commit() {
  state_->guarded([&](Writer&) { state_->commit(); });
}

void Store::set_facts(const RunFacts& facts) {
  state_->guarded([&](Writer&) {
    write_facts(state_->database, facts);
    state_->commit();
  });
}

void Store::set_commit_every(std::int64_t trials) { state_->commit_every = trials; }

RunFacts Store::facts() const { return read_facts(state_->database); }

RunDescription Store::description() const { return read_description(state_->database); }

std::vector<bool> Store::trials_done() const {
  std::vector<bool> done(static_cast<std::size_t>(state_->planned));
  Statement row(state_->database, "SELECT trial FROM trials");
  while (row.step()) {
    const auto id = static_cast<std::size_t>(row.integer(0));
    if (id < done.size()) done[id] = true;
  }
  return done;
}

std::int64_t Store::count_done() const {
  return state_->database.integer("SELECT count(*) FROM trials");
}

OutcomeCounts Store::count_outcomes() const {
  OutcomeCounts counts{};
  Statement row(state_->database, "SELECT outcome, count(*) FROM trials GROUP BY outcome");
  while (row.step()) {
    const auto outcome = static_cast<std::size_t>(row.integer(0));
    if (outcome < counts.size()) counts[outcome] += row.integer(1);
  }
  return counts;
}

std::vector<GoldenResult> Store::golden_rows() const {
  const std::int64_t images = state_->database.integer("SELECT count(*) FROM images");
  std::vector<GoldenResult> rows;
  Statement row(
      state_->database,
      "SELECT image, loss, top1, top2diff, fp32_loss, fp32_top1 FROM golden ORDER BY image");
  while (row.step()) {
    GoldenResult result;
    if (row.integer(0) < 0 || row.integer(0) >= images) {
      throw Error(ExitCode::kInput,
                  state_->database.path().string() + ": is damaged: a golden result is of image " +
                      std::to_string(row.integer(0)) + " of " + std::to_string(images));
    }
    result.image = static_cast<std::int32_t>(row.integer(0));
    result.loss = row.real(1);
    result.top1 = static_cast<std::int32_t>(row.integer(2));
    result.top2diff = static_cast<float>(row.real(3));
    result.fp32_loss = row.real(4);
    result.fp32_top1 = static_cast<std::int32_t>(row.integer(5));
    rows.push_back(result);
  }
  return rows;
}

TrialResult Store::read_trial(std::int64_t id) const {
  TrialCursor cursor(state_->database, state_->metrics, id, id);
  const TrialResult* result = cursor.next();
  if (result) return *result;
  const std::string range = "0 to " + std::to_string(state_->planned - 1);
  const bool planned = id >= 0 && id < state_->planned;
  throw Error(
      ExitCode::kInput,
      state_->directory.string() + ": has no trial " + std::to_string(id) +
          (planned ? "; it was not run yet (bitfall resume " + state_->directory.string() + ")"
                   : "; its trials are " + range));
}

void Store::for_each_trial(const std::function<void(const TrialResult&)>& f) const {
  TrialCursor cursor(state_->database, state_->metrics, 0, INT64_MAX);
  while (const TrialResult* result = cursor.next()) f(*result);
}

std::string Store::digest() const {
  TrialHash hash;
  for_each_trial([&](const TrialResult& result) { hash.add(result); });
  return hash.hex();
}

const fs::path& Store::directory() const { return state_->directory; }

}  // namespace bitfall
