#include "store.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <fstream>
#include <optional>
#include <string_view>

#include "atomic_file.h"
#include "error.h"
#include "log.h"
#include "run_lock.h"
#include "seal.h"
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

// Write-ahead log, its index, rollback journal: they belong to one file, and SQLite applies them to
// whatever file has its name.
constexpr std::array kSideFiles = {"-wal", "-shm", "-journal"};

void remove_side_files(const fs::path& path) {
  for (const char* suffix : kSideFiles) fs::remove(with_suffix(path, suffix));
}

void tell_of_orphans(const fs::path& path) {
  std::string names;
  for (const char* suffix : {"-wal", "-journal"}) {
    const fs::path file = with_suffix(path, suffix);
    if (fs::exists(fs::symlink_status(file))) {
      names += (names.empty() ? "" : ", ") + file.filename().string();
    }
  }
  if (names.empty()) return;
  log_info("removed " + names + " in " + path.parent_path().string() +
           ", left of a run whose file was deleted");
}

// The file appears under its name complete or not at all, whenever the process is killed, and what
// had the name before stays until then. What belongs to that is written back first: a log that is
// removed, or a rollback journal, would else take a part of the old run along.
void put_in_place(const fs::path& complete, const fs::path& path) {
  if (fs::exists(path)) {
    try {
      Database old(path, Database::Mode::kWrite);
      old.integer("SELECT count(*) FROM sqlite_schema");
      old.text("PRAGMA wal_checkpoint(PASSIVE)");
    } catch (const Error&) {  // not a database: nothing to write back
      std::error_code absent;
      const fs::path journal = with_suffix(path, "-journal");
      const bool hot = !fs::is_symlink(path) && !fs::is_symlink(journal) &&
                       fs::file_size(journal, absent) > 0 && !absent;
      if (hot && is_database(path)) throw;
    }
  } else {
    tell_of_orphans(path);
  }
  remove_side_files(path);
  fs::rename(complete, path);
  flush_folder(path.parent_path());
}

struct RunText {
  const char* name;
  const std::string* text;
};

/// The texts that lie beside the database, for people.
std::vector<RunText> texts_of(const std::string& campaign, const std::string& fault_list) {
  std::vector<RunText> texts = {{"campaign.toml", &campaign}};
  if (!fault_list.empty()) texts.push_back({"faults.csv", &fault_list});
  return texts;
}

void prove_free(const fs::path& directory, const std::vector<RunText>& texts) {
  std::error_code absent;
  if (fs::exists(directory / kFileName, absent)) {
    throw Error(ExitCode::kUsage,
                directory.string() + ": already holds a campaign; give another output folder");
  }
  for (const RunText& text : texts) {
    if (absent_or_equal(directory / text.name, *text.text)) continue;
    throw Error(ExitCode::kUsage,
                (directory / text.name).string() +
                    ": is there already and is another text than the run's, which "
                    "would take its place; give another output folder, or --force");
  }
}

/// A run on its way into a directory: its files have other names until all of them are written.
class StagedRun {
 public:
  explicit StagedRun(const fs::path& directory)
      : directory_(directory),
        path_(directory / kFileName),
        complete_(with_suffix(path_, ".new")),
        replaces_(fs::exists(path_)) {
    discard();  // what a killed process left
  }
  ~StagedRun() {
    try {
      if (!placed_) discard();
    } catch (const std::exception&) {  // no memory: the next run of this folder discards it
    }
  }
  StagedRun(const StagedRun&) = delete;
  StagedRun& operator=(const StagedRun&) = delete;

  /// Writes all files under their other names.
  void write(const RunDescription& run, Store::Existing existing) {
    const auto texts = texts_of(run.campaign_text, run.fault_list_text);
    if (existing == Store::Existing::kRefuse) prove_free(directory_, texts);
    Database database(complete_, Database::Mode::kCreate);
    database.text("PRAGMA journal_mode = MEMORY");
    write_schema(database, run);
    for (const RunText& text : texts) {
      const fs::path path = directory_ / text.name;
      if (fs::exists(path) && absent_or_equal(path, *text.text)) continue;
      texts_.push_back(std::make_unique<AtomicFile>(path));
      texts_.back()->write(*text.text);
      texts_.back()->flush();
    }
    listed_ = !run.fault_list_text.empty();
  }

  /// The database, until it is in its place.
  const fs::path& complete() const { return complete_; }

  /// The database holds the texts too, so that it comes first.
  void place() {
    const std::string old_list = replaces_ && !listed_ ? old_fault_list() : "";
    put_in_place(complete_, path_);
    placed_ = true;
    for (const auto& text : texts_) text->commit();
    if (!replaces_) return;
    std::error_code ignored;
    if (!old_list.empty() && absent_or_equal(directory_ / "faults.csv", old_list)) {
      fs::remove(directory_ / "faults.csv", ignored);
    }
    if (is_own_page(directory_ / "report.html")) fs::remove(directory_ / "report.html", ignored);
  }

 private:
  void discard() const {
    std::error_code ignored;
    fs::remove(complete_, ignored);
    for (const char* suffix : kSideFiles) fs::remove(with_suffix(complete_, suffix), ignored);
  }

  std::string old_fault_list() const {
    try {
      return Database(path_, Database::Mode::kWrite).text("SELECT fault_list FROM campaign");
    } catch (const Error&) {  // not a campaign
      return "";
    }
  }

  fs::path directory_, path_, complete_;
  bool replaces_ = false, listed_ = false, placed_ = false;
  std::vector<std::unique_ptr<AtomicFile>> texts_;
};

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

// A run that goes on is sealed only when it finishes: what SQLite itself can see of damage.
void check_pages(Database& database) {
  std::string found = database.text("PRAGMA quick_check(1)");
  if (found == "ok") {
    found = database.text(
        "SELECT 'it holds edits of trial ' || e.trial || ', which it lacks' FROM more_edits e "
        "WHERE NOT "
        "EXISTS (SELECT 1 FROM trials t WHERE t.trial = e.trial) LIMIT 1");
    if (found.empty()) return;
  }
  throw Error(ExitCode::kInput, database.path().string() + ": is damaged: " + found +
                                    "; take it from a copy, or run the campaign again");
}

// They are for people; where one is missing, the process was killed before it could write it.
void restore_texts(const fs::path& directory, Database& database) {
  const std::string campaign = database.text("SELECT text FROM campaign");
  const std::string faults = database.text("SELECT fault_list FROM campaign");
  std::error_code absent;
  for (const RunText& text : texts_of(campaign, faults)) {
    const fs::path path = directory / text.name;
    if (!fs::exists(fs::symlink_status(path, absent))) write_file_atomically(path, *text.text);
  }
}

template <typename Work>
void guard_files(const fs::path& path, Work work) {
  try {
    work();
  } catch (const fs::filesystem_error& error) {
    throw Error(ExitCode::kFailure, path.string() + ": cannot be made: " + error.code().message());
  }
}

// What a writing store has in addition to the file.
struct Writer {
  Writer(const Database& database, const TrialRanges& ranges)
      : trials(database, ranges.metrics),
        golden(database, ranges.images),
        insert_golden(database, "INSERT OR REPLACE INTO golden VALUES(?,?,?,?,?,?)") {}

  TrialWriter trials;
  GoldenAnswers golden;
  Statement insert_golden;
};

}  // namespace

bool holds_run(const fs::path& directory) {
  std::error_code absent;
  return fs::exists(directory / kFileName, absent);
}

struct Store::State {
  State(fs::path where, std::unique_ptr<RunLock> held, Database file)
      : directory(std::move(where)), lock(std::move(held)), database(std::move(file)) {
    planned = check_trial_numbers(database);
    ranges.metrics = read_metric_columns(database).size();
    const auto count = [this](const char* sql) {
      return static_cast<std::size_t>(std::max<std::int64_t>(database.integer(sql), 0));
    };
    ranges.entries = count("SELECT max(entry) + 1 FROM strata");
    ranges.sites = count("SELECT count(*) FROM sites");
    ranges.images = count("SELECT count(*) FROM images");
    seal = read_seal(database);
  }

  void start_writing(std::int64_t every) {
    choose_journal(database);
    commit_every = every;
    writer.emplace(database, ranges);
    scattered = database.integer("SELECT EXISTS(SELECT 1 FROM trials)") != 0;
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

  // Of one moment: the run may finish while it is read.
  void check_description() {
    database.execute("BEGIN");
    seal = read_seal(database);
    const bool changed = seal && description_digest(database) != seal->description;
    database.execute("COMMIT");
    if (changed) refuse_changed(database, "what it says of itself has another digest");
  }

  // Goes through all trials, and takes those of a finished run only as they were when it finished.
  std::string visit(const std::function<void(const TrialResult&)>& f, std::string* remarks) const {
    TrialHash trials;
    RemarkHash rest;
    TrialCursor cursor(database, ranges, 0, INT64_MAX);
    while (const TrialResult* result = cursor.next()) {
      trials.add(*result);
      rest.add(*result);
      if (f) f(*result);
    }
    const std::string digest = trials.hex();
    const std::string other = rest.hex();
    if (seal && digest != seal->trials) {
      refuse_changed(database, "its trials have the digest " + digest.substr(0, 8) +
                                   "..., and had " + seal->trials.substr(0, 8) + "...");
    }
    if (seal && other != seal->remarks) {
      refuse_changed(database, "messages or classes of bits of its trials have another digest");
    }
    if (remarks) *remarks = other;
    return digest;
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
      if (seal) unseal();
      write(*writer);
    } catch (const Error& error) {
      roll_back();
      if (!resumable || database.moved()) throw;
      throw Error(error.code(), error.what() + std::string(kKept) + shell_word(directory.string()));
    }
  }

  bool has_image(std::int32_t image) const {
    return image >= 0 && static_cast<std::size_t>(image) < ranges.images;
  }

  // Trials hold what their image gave without a fault only by naming it.
  bool contradicts_trials(const GoldenResult& result, Writer& of) {
    const GoldenAnswer* known = of.golden.of(result.image);
    if (!known || (same_number(known->loss, result.loss) && known->top1 == result.top1)) {
      return false;
    }
    Statement trial(database, "SELECT 1 FROM trials WHERE image = ? LIMIT 1");
    return trial.bind(std::int64_t{result.image}).step();
  }

  void unseal() {
    remove_seal(database);
    seal.reset();
  }

  // SQLite leaves pages that were filled in no order up to a third empty. Nothing depends on this:
  // where it fails (a full disk), the file stays as it was.
  void compact() noexcept {
    constexpr std::uintmax_t kMost = std::uintmax_t{1} << 30;  // it takes twice as much meanwhile
    try {
      if (fs::file_size(database.path()) > kMost) return;
      if (database.text("PRAGMA journal_mode") == "memory") {  // it would hold the whole file
        database.text("PRAGMA journal_mode = DELETE");
      }
      database.execute("VACUUM");
      scattered = false;
    } catch (const std::exception&) {
    }
  }

  void roll_back() noexcept {
    pending = 0;
    try {
      if (database.in_transaction()) database.execute("ROLLBACK");
      if (writer) writer->golden.forget();
    } catch (const std::exception&) {
      // Nothing more can be done; SQLite undoes the batch when the file is next opened.
    }
  }

  fs::path directory;
  std::unique_ptr<RunLock> lock;
  Database database;
  std::int64_t planned = 0;
  TrialRanges ranges;
  std::optional<Seal> seal;       // of a run that has finished
  bool resumable = true;          // by `bitfall resume`, where writing fails
  std::int64_t commit_every = 1;  // trials
  std::int64_t pending = 0;
  std::int64_t last = -1;                       // trial written
  bool scattered = false;                       // trials were written in another order than theirs
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
  guard_files(path, [&] {
    StagedRun staged(directory);
    staged.write(run, existing);
    staged.place();
  });
  auto state =
      std::make_unique<State>(directory, std::move(lock), Database(path, Database::Mode::kWrite));
  state->start_writing(commit_every);
  return std::unique_ptr<Store>(new Store(std::move(state)));
}

void Store::create_complete(const fs::path& directory, const RunDescription& run, Existing existing,
                            const RunFacts& facts, const std::function<void(Store&)>& fill) {
  constexpr std::int64_t kAtOnce = 100'000;  // trials
  make_directory(directory);
  const RunLock lock(directory);
  guard_files(directory / kFileName, [&] {
    StagedRun staged(directory);
    staged.write(run, existing);
    {
      auto state = std::make_unique<State>(directory, nullptr,
                                           Database(staged.complete(), Database::Mode::kWrite));
      state->database.text("PRAGMA journal_mode = MEMORY");  // nobody reads it before it is whole
      state->resumable = false;
      state->commit_every = kAtOnce;
      state->writer.emplace(state->database, state->ranges);
      Store store(std::move(state));
      fill(store);
      store.finish(facts);
    }
    staged.place();
  });
}

void Store::prove_creatable(const fs::path& directory, const std::string& campaign_text,
                            const std::string& fault_list_text, Existing existing) {
  if (existing == Existing::kRefuse) {
    prove_free(directory, texts_of(campaign_text, fault_list_text));
  }
}

std::unique_ptr<Store> Store::open(const fs::path& directory, std::int64_t commit_every) {
  const fs::path path = existing_file(directory);
  auto lock = std::make_unique<RunLock>(directory);
  Database database(path, Database::Mode::kWrite);
  check_schema(database);
  check_pages(database);
  auto state = std::make_unique<State>(directory, std::move(lock), std::move(database));
  state->start_writing(commit_every);
  restore_texts(directory, state->database);
  return std::unique_ptr<Store>(new Store(std::move(state)));
}

std::unique_ptr<Store> Store::open_read_only(const fs::path& directory) {
  auto state =
      std::make_unique<State>(directory, nullptr, open_for_reading(existing_file(directory)));
  state->check_description();
  return std::unique_ptr<Store>(new Store(std::move(state)));
}

Store::~Store() {
  try {
    if (state_->writer) state_->commit();
  } catch (const std::exception&) {
    state_->roll_back();  // whoever needs to know calls commit() first
  }
}

void Store::golden(const GoldenResult& result) {
  state_->guarded([&](Writer& writer) {
    if (!state_->has_image(result.image)) {
      throw Error(ExitCode::kFailure, state_->directory.string() + ": has no image " +
                                          std::to_string(result.image) + " of " +
                                          std::to_string(state_->ranges.images));
    }
    if (state_->contradicts_trials(result, writer)) {
      throw Error(ExitCode::kFailure, state_->directory.string() +
                                          ": cannot keep another answer without a fault of "
                                          "image " +
                                          std::to_string(result.image) +
                                          ", of which it holds trials");
    }
    writer.golden.forget(result.image);
    Statement& insert = writer.insert_golden;
    insert.bind(std::int64_t{result.image}).bind(result.loss).bind(std::int64_t{result.top1});
    insert.bind(static_cast<double>(result.top2diff)).bind(result.fp32_loss);
    insert.bind(std::int64_t{result.fp32_top1}).run();
  });
}

void Store::trial(const TrialResult& result) {
  state_->guarded([&](Writer& writer) {
    if (result.metrics.size() != state_->ranges.metrics || result.trial < 0 ||
        result.trial >= state_->planned || !state_->has_image(result.image)) {
      throw Error(ExitCode::kFailure,
                  "trial " + std::to_string(result.trial) + " of image " +
                      std::to_string(result.image) + " with " +
                      std::to_string(result.metrics.size()) + " metric values does not belong to " +
                      state_->directory.string() + " (" + std::to_string(state_->planned) +
                      " trials, " + std::to_string(state_->ranges.images) + " images, " +
                      std::to_string(state_->ranges.metrics) + " metric columns)");
    }
    const GoldenAnswer* golden = writer.golden.of(result.image);
    std::string wrong = contradiction(result);
    if (wrong.empty()) wrong = contradiction(result, golden);
    if (!wrong.empty()) {
      throw Error(ExitCode::kFailure, state_->directory.string() + ": cannot keep trial " +
                                          std::to_string(result.trial) + ": it " + wrong);
    }
    writer.trials.write(result, golden);
    state_->scattered |= result.trial < state_->last;
    state_->last = result.trial;
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

void Store::extend(const std::vector<Stratum>& strata, const RunFacts& facts) {
  state_->guarded([&](Writer&) {
    std::int64_t trials = 0;
    Statement update(state_->database, "UPDATE strata SET trials = ? WHERE id = ?");
    for (std::size_t i = 0; i < strata.size(); ++i) {
      update.bind(strata[i].trials).bind(static_cast<std::int64_t>(i)).run();
      trials += strata[i].trials;
    }
    Statement(state_->database, "UPDATE campaign SET trials = ?").bind(trials).run();
    write_facts(state_->database, facts);
    state_->commit();
    state_->planned = trials;
  });
}

void Store::finish(const RunFacts& facts) {
  state_->guarded([&](Writer&) {
    Seal seal;
    write_facts(state_->database, facts);
    seal.trials = state_->visit({}, &seal.remarks);
    seal.description = description_digest(state_->database);
    write_seal(state_->database, seal);
    state_->commit();
    state_->seal = std::move(seal);
  });
  if (state_->scattered) state_->compact();
}

bool Store::sealed() const { return state_->seal.has_value(); }

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
  TrialCursor cursor(state_->database, state_->ranges, id, id);
  const TrialResult* result = cursor.next();
  if (result) return *result;
  const std::string run = state_->directory.string();
  std::string why = "its trials are 0 to " + std::to_string(state_->planned - 1);
  if (id >= 0 && id < state_->planned) {
    const RunFacts facts = description().facts;
    why = "it was not run yet (bitfall resume " + run + ")";
    if (facts.shard) {
      const std::string other = "it is of another shard than " + to_string(*facts.shard);
      why = facts.finished ? other : other + ", or was not run yet (bitfall resume " + run + ")";
    }
  }
  throw Error(ExitCode::kInput, run + ": has no trial " + std::to_string(id) + "; " + why);
}

void Store::for_each_trial(const std::function<void(const TrialResult&)>& f) const {
  state_->visit(f, nullptr);
}

std::string Store::digest() const { return state_->visit({}, nullptr); }

const fs::path& Store::directory() const { return state_->directory; }

}  // namespace bitfall
