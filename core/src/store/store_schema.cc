#include "store_schema.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <span>

#include "error.h"
#include "json_file.h"
#include "number_cells.h"
#include "numbers.h"

namespace bitfall {
namespace {

using Json = nlohmann::json;

// Columns of measured numbers have no declared type: SQLite keeps what it is given there, while a
// REAL column turns -0.0 into 0. The views declare REAL for readers that want a type (DuckDB). NaN
// is stored as NULL. A trial's message is a row of `messages`, as many trials may raise the same.
// Of a trial, which there may be many millions of, all is as short as it can be: number_cells.h,
// and trials_table() below. What has to be read is in the views.
constexpr const char* kTables = R"sql(
CREATE TABLE campaign(
  file TEXT NOT NULL, text TEXT NOT NULL, fault_list TEXT NOT NULL, trials INTEGER NOT NULL);
CREATE TABLE facts(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE classes(id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE images(id INTEGER PRIMARY KEY, name TEXT NOT NULL, label INTEGER NOT NULL);
CREATE TABLE sites(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, target INTEGER NOT NULL, operation TEXT NOT NULL,
  shape TEXT NOT NULL, values_ INTEGER NOT NULL, refusal TEXT NOT NULL, aliases TEXT NOT NULL,
  format INTEGER NOT NULL, golden_minimum, golden_maximum, metadata TEXT);
CREATE TABLE strata(
  id INTEGER PRIMARY KEY, entry INTEGER NOT NULL, site INTEGER NOT NULL, population REAL,
  trials INTEGER NOT NULL, permanent INTEGER NOT NULL);
CREATE TABLE formats(id INTEGER PRIMARY KEY, name TEXT NOT NULL, options TEXT NOT NULL);
CREATE TABLE registers(
  format INTEGER NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL, bits INTEGER NOT NULL,
  PRIMARY KEY(format, id)) WITHOUT ROWID;
CREATE TABLE register_bits(
  format INTEGER NOT NULL, register INTEGER NOT NULL, bit INTEGER NOT NULL, class INTEGER NOT NULL,
  PRIMARY KEY(format, register, bit)) WITHOUT ROWID;
CREATE TABLE metric_columns(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, metric TEXT NOT NULL, kind INTEGER NOT NULL,
  unit TEXT NOT NULL);
CREATE TABLE golden(
  image INTEGER PRIMARY KEY, loss, top1 INTEGER NOT NULL, top2diff,
  fp32_loss, fp32_top1 INTEGER NOT NULL);
CREATE TABLE messages(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
)sql";

// The names of an enum in SQL: CASE column WHEN 0 THEN 'masked' ... END.
std::string named(const char* column, std::span<const char* const> names) {
  std::string sql = std::string("CASE ") + column;
  for (std::size_t i = 0; i < names.size(); ++i) {
    sql += " WHEN " + std::to_string(i) + " THEN '" + names[i] + "'";
  }
  return sql + " END";
}

// How many trials had each outcome, a column each.
std::string outcome_counts() {
  std::string sql;
  for (std::size_t i = 0; i < kOutcomeNames.size(); ++i) {
    sql += (i ? ", " : "") + ("sum(t.outcome = " + std::to_string(i)) + ") AS " + kOutcomeNames[i];
  }
  return sql;
}

// Every name that an export or a view uses for something else.
constexpr std::array kTaken = {
    "trial",       "entry",        "site",        "target",      "operation",   "image",
    "label",       "outcome",      "activated",   "golden_loss", "faulty_loss", "golden_top1",
    "faulty_top1", "element",      "register",    "op",          "mask",        "code_before",
    "code_after",  "value_before", "value_after", "position",    "message",     "rowid",
    "oid",         "_rowid_",      "bit_class",   "value_bits"};

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// An edit as a row has it: trial_rows.h.
constexpr const char* kEditTypes =
    "element INTEGER, register INTEGER, operation INTEGER, mask INTEGER, value_bits INTEGER, "
    "code_before INTEGER, code_after INTEGER, value_before, value_after, bit_class INTEGER";
constexpr const char* kEditNames =
    "element, register, operation, mask, value_bits, code_before, code_after, value_before, "
    "value_after, bit_class";

// A trial with its first edit, which has no element where there is none; further ones are rare.
// golden_top1 and golden_loss: NULL where they are those of the image; faulty_top1: NULL where it
// is golden_top1. Of faulty_loss the reference is the golden loss, of metrics the change of the
// loss.
std::string trials_tables(const std::vector<StoredColumn>& columns) {
  std::string sql =
      "CREATE TABLE trials(trial INTEGER PRIMARY KEY, entry INTEGER NOT NULL, site INTEGER NOT "
      "NULL, image INTEGER NOT NULL, outcome INTEGER NOT NULL, activated INTEGER NOT NULL, "
      "golden_loss, golden_top1 INTEGER, faulty_loss, faulty_top1 INTEGER, message INTEGER, ";
  sql += kEditTypes;
  for (const StoredColumn& column : columns) sql += ", " + sql_name(column.name);
  return sql + ");\nCREATE TABLE more_edits(trial INTEGER NOT NULL, position INTEGER NOT NULL, " +
         kEditTypes + ", PRIMARY KEY(trial, position)) WITHOUT ROWID;\n";
}

// The trials with losses and answers as numbers, and other columns as they are stored.
std::string answers(const std::vector<StoredColumn>& columns = {}) {
  std::string stored;
  for (const StoredColumn& column : columns) stored += ", t." + sql_name(column.name);
  std::string with_golden =
      "SELECT t.trial, t.entry, t.site, t.image, t.outcome, t.activated, CASE WHEN t.golden_top1 "
      "IS NULL THEN g.loss ELSE " +
      number_sql("t.golden_loss") +
      " END AS golden_loss, coalesce(t.golden_top1, g.top1) AS golden_top1, t.faulty_loss, "
      "t.faulty_top1, t.message" +
      stored + " FROM trials t LEFT JOIN golden g ON g.image = t.image";
  return "SELECT t.trial, t.entry, t.site, t.image, t.outcome, t.activated, t.golden_loss, "
         "t.golden_top1, " +
         number_sql("t.faulty_loss", "t.golden_loss") +
         " AS faulty_loss, coalesce(t.faulty_top1, t.golden_top1) AS faulty_top1, t.message" +
         stored + " FROM (" + with_golden + ") t";
}

std::string trials_view(const std::vector<StoredColumn>& columns) {
  std::string sql = "CREATE VIEW v_trials AS SELECT t.trial, t.entry, s.name AS site, " +
                    named("s.target", kTargetNames) +
                    " AS target, s.operation, i.name AS image, i.label, " +
                    named("t.outcome", kOutcomeNames) +
                    " AS outcome, t.activated, CAST(t.golden_loss AS REAL) AS golden_loss, "
                    "CAST(t.faulty_loss AS REAL) AS faulty_loss, t.golden_top1, t.faulty_top1, "
                    "m.text AS message";
  for (const StoredColumn& column : columns) {
    const std::string name = sql_name(column.name);
    sql += ", CAST(" + number_sql("t." + name, "(t.faulty_loss - t.golden_loss)") +
           " AS REAL) AS " + name;
  }
  return sql + " FROM (" + answers(columns) +
         ") t JOIN sites s ON s.id = t.site JOIN images i ON i.id = t.image "
         "LEFT JOIN messages m ON m.id = t.message;\n";
}

// Codes and masks are stored as signed numbers (trial_rows.cc). SQLite has no exclusive or: it is
// (a | b) - (a & b).
std::string unsigned_sql(const std::string& column) { return "(" + column + " & 4294967295)"; }

// The edits with masks and codes as numbers.
std::string edits() {
  const std::string before = unsigned_sql("code_before"), mask = unsigned_sql("mask");
  const std::string names = kEditNames;
  return "SELECT trial, position, element, register, operation, " + mask +
         " AS mask, value_bits, " + before +
         " AS code_before, CASE WHEN code_after IS NOT NULL THEN " + unsigned_sql("code_after") +
         " ELSE CASE operation WHEN 0 THEN (" + before + " | " + mask + ") - (" + before + " & " +
         mask + ") WHEN 1 THEN " + before + " | " + mask + " WHEN 2 THEN " + before + " & ~" +
         mask + " WHEN 3 THEN " + mask +
         " END END AS code_after, value_before, value_after, bit_class FROM (SELECT trial, 0 AS "
         "position, " +
         names + " FROM trials WHERE element IS NOT NULL UNION ALL SELECT trial, position, " +
         names + " FROM more_edits)";
}

// edited_bits are those that an edit names (a mask) or, for 'write' and numbers, changes: the
// difference of the codes.
constexpr const char* kEditedBits =
    "CASE WHEN e.operation < 3 THEN e.mask ELSE (e.code_before | e.code_after) - (e.code_before & "
    "e.code_after) END";

std::string edits_view() {
  const auto value = [](const char* column, const char* code) {
    return "CAST(" + number_sql(column, float32_sql(code)) + " AS REAL)";
  };
  return R"sql(
CREATE VIEW v_edits AS
  SELECT e.trial, e.position, s.name AS site, i.name AS image, f.name AS format, e.element,
    r.name AS register, )sql" +
         named("e.operation", kEditOperationNames) + " AS operation, e.mask, CAST(" +
         float32_sql("coalesce(e.value_bits, 0)") + R"sql( AS REAL) AS value,
    e.code_before, e.code_after, )sql" +
         value("e.value_before", "e.code_before") + " AS value_before, " +
         value("e.value_after", "e.code_after") + " AS value_after, " + kEditedBits +
         " AS edited_bits, " + named("e.bit_class", kBitClassNames) + " AS class FROM (" + edits() +
         R"sql() e JOIN trials t USING(trial)
    JOIN sites s ON s.id = t.site
    JOIN images i ON i.id = t.image
    JOIN formats f ON f.id = s.format
    JOIN registers r ON r.format = s.format AND r.id = e.register;
)sql";
}

std::string summary_views() {
  return R"sql(
CREATE VIEW v_by_layer AS
  SELECT t.entry, s.name AS site, s.operation,
    count(*) AS trials, sum(t.activated) AS activated,
    )sql" +
         outcome_counts() + R"sql(,
    avg(CASE WHEN abs(t.faulty_loss - t.golden_loss) < 9e999
      THEN abs(t.faulty_loss - t.golden_loss) END) AS mean_delta_loss
  FROM ()sql" +
         answers() + R"sql() t JOIN sites s ON s.id = t.site
  GROUP BY t.entry, t.site ORDER BY t.entry, t.site;
CREATE VIEW v_by_bit AS
  SELECT f.name AS format, r.name AS register, b.bit, )sql" +
         named("b.class", kBitClassNames) + R"sql( AS class,
    count(*) AS trials, )sql" +
         outcome_counts() + " FROM (SELECT e.*, " + kEditedBits + " AS edited_bits FROM (" +
         edits() + R"sql() e) e JOIN trials t USING(trial)
    JOIN sites s ON s.id = t.site
    JOIN formats f ON f.id = s.format
    JOIN registers r ON r.format = s.format AND r.id = e.register
    JOIN register_bits b
      ON b.format = s.format AND b.register = r.id AND e.edited_bits >> b.bit = 1
  WHERE NOT EXISTS (SELECT 1 FROM more_edits o WHERE o.trial = e.trial)
  GROUP BY s.format, r.id, b.bit ORDER BY s.format, r.id, b.bit;
)sql";
}

template <typename Value>
std::string list_text(const std::vector<Value>& values) {
  return json_text(Json(values), -1);
}

template <typename Value>
std::vector<Value> read_list(const Database& database, const std::string& text) {
  try {
    return stored_json(text).get<std::vector<Value>>();
  } catch (const Json::exception&) {
    throw Error(ExitCode::kInput, database.path().string() + ": is damaged: '" + text +
                                      "' is not the list that belongs there");
  }
}

void write_sites(Database& database, const RunDescription& run) {
  Statement with_profile(database, "INSERT INTO sites VALUES(?,?,?,?,?,?,?,?,?,?,?,?)");
  Statement plain(database, "INSERT INTO sites VALUES(?,?,?,?,?,?,?,?,?,NULL,NULL,NULL)");
  for (std::size_t i = 0; i < run.sites.size(); ++i) {
    const Site& site = run.sites[i];
    const bool profiled = i < run.profiles.size();
    Statement& insert = profiled ? with_profile : plain;
    insert.bind(static_cast<std::int64_t>(i)).bind(site.name);
    insert.bind(static_cast<std::int64_t>(site.target)).bind(site.operation);
    insert.bind(list_text(site.shape)).bind(site.values).bind(site.refusal);
    insert.bind(list_text(site.aliases));
    insert.bind(std::int64_t{i < run.site_formats.size() ? run.site_formats[i] : 0});
    if (profiled) {
      const SiteProfile& profile = run.profiles[i];
      insert.bind(static_cast<double>(profile.golden.minimum));
      insert.bind(static_cast<double>(profile.golden.maximum)).bind(list_text(profile.metadata));
    }
    insert.run();
  }
}

// Of a run whose faults were drawn by the values that they find; the counts of images are 4 bytes
// each, the lowest first.
constexpr const char* kClassCounts =
    "CREATE TABLE value_counts(site INTEGER NOT NULL, bit INTEGER NOT NULL, class INTEGER NOT "
    "NULL, counts BLOB NOT NULL, PRIMARY KEY(site, bit, class)) WITHOUT ROWID";

void write_value_counts(Database& database, const RunDescription& run) {
  const auto counted = [](const SiteProfile& profile) { return !profile.values.empty(); };
  if (std::none_of(run.profiles.begin(), run.profiles.end(), counted)) return;
  database.execute(kClassCounts);
  Statement insert(database, "INSERT INTO value_counts VALUES(?,?,?,?)");
  for (std::size_t site = 0; site < run.profiles.size(); ++site) {
    const ClassCounts& values = run.profiles[site].values;
    for (const int bit : values.bits()) {
      for (int of = 0; of < kValueClasses; ++of) {
        std::string bytes;
        for (const std::uint32_t count : values.of(bit, of)) {
          for (int byte = 0; byte < 4; ++byte) bytes += static_cast<char>(count >> 8 * byte & 0xff);
        }
        insert.bind(static_cast<std::int64_t>(site)).bind(std::int64_t{bit}).bind(std::int64_t{of});
        insert.bind_blob(bytes).run();
      }
    }
  }
}

void read_value_counts(Database& database, RunDescription& run) {
  if (!database.has_table("value_counts")) return;
  const auto damaged = [&](const std::string& what) {
    return Error(ExitCode::kInput, database.path().string() + ": is damaged: " + what);
  };
  struct Counted {
    std::vector<int> bits;
    std::vector<std::uint32_t> counts;
  };
  std::map<std::int64_t, Counted> by_site;
  Statement row(database, "SELECT site, bit, class, counts FROM value_counts ORDER BY 1, 2, 3");
  while (row.step()) {
    Counted& counted = by_site[row.integer(0)];
    const std::string bytes = row.text(3);
    if (row.integer(1) < 0 || row.integer(1) > 31 || bytes.size() % 4 != 0) {
      throw damaged("its counts of values are none");
    }
    if (row.integer(2) == 0) counted.bits.push_back(static_cast<int>(row.integer(1)));
    for (std::size_t i = 0; i < bytes.size(); i += 4) {
      std::uint32_t count = 0;
      for (std::size_t byte = 4; byte-- > 0;) {
        count = count << 8 | static_cast<unsigned char>(bytes[i + byte]);
      }
      counted.counts.push_back(count);
    }
  }
  for (auto& [site, counted] : by_site) {
    const auto rows = counted.bits.size() * kValueClasses;
    const auto images = rows == 0 ? 0 : static_cast<std::int64_t>(counted.counts.size() / rows);
    const bool all = images == 1 || images == static_cast<std::int64_t>(run.image_names.size());
    if (site < 0 || site >= static_cast<std::int64_t>(run.profiles.size()) || !all ||
        counted.counts.size() != rows * static_cast<std::size_t>(images)) {
      throw damaged("its counts of values are not those of its sites and images");
    }
    run.profiles[static_cast<std::size_t>(site)].values =
        ClassCounts(std::move(counted.bits), images, std::move(counted.counts));
  }
}

void write_formats(Database& database, const RunDescription& run) {
  Statement insert(database, "INSERT INTO formats VALUES(?,?,?)");
  Statement insert_register(database, "INSERT INTO registers VALUES(?,?,?,?)");
  Statement insert_bit(database, "INSERT INTO register_bits VALUES(?,?,?,?)");
  std::int64_t id = 0;
  for (const StoredFormat& format : run.formats) {
    insert.bind(id).bind(format.id).bind(format.options).run();
    std::int64_t index = 0;
    for (const StoredRegister& kind : format.registers) {
      insert_register.bind(id).bind(index).bind(kind.name).bind(std::int64_t{kind.bits}).run();
      std::int64_t bit = 0;
      for (const BitClass bit_class : kind.bit_classes) {
        insert_bit.bind(id).bind(index).bind(bit++);
        insert_bit.bind(static_cast<std::int64_t>(bit_class)).run();
      }
      ++index;
    }
    ++id;
  }
}

void write_description(Database& database, const RunDescription& run) {
  Statement(database, "INSERT INTO campaign VALUES(?,?,?,?)")
      .bind(run.campaign_file.string())
      .bind(run.campaign_text)
      .bind(run.fault_list_text)
      .bind(run.trials)
      .run();
  write_facts(database, run.facts);
  Statement insert_class(database, "INSERT INTO classes VALUES(?,?)");
  for (std::size_t i = 0; i < run.classes.size(); ++i) {
    insert_class.bind(static_cast<std::int64_t>(i)).bind(run.classes[i]).run();
  }
  Statement image(database, "INSERT INTO images VALUES(?,?,?)");
  for (std::size_t i = 0; i < run.image_names.size(); ++i) {
    image.bind(static_cast<std::int64_t>(i)).bind(run.image_names[i]);
    image.bind(static_cast<std::int64_t>(run.labels.at(i))).run();
  }
  write_sites(database, run);
  write_value_counts(database, run);
  Statement stratum(database, "INSERT INTO strata VALUES(?,?,?,?,?,?)");
  for (std::size_t i = 0; i < run.strata.size(); ++i) {
    const Stratum& s = run.strata[i];
    stratum.bind(static_cast<std::int64_t>(i))
        .bind(std::int64_t{s.entry})
        .bind(std::int64_t{s.site});
    stratum.bind(s.population).bind(s.trials).bind(std::int64_t{s.permanent}).run();
  }
  write_formats(database, run);
  Statement column(database, "INSERT INTO metric_columns VALUES(?,?,?,?,?)");
  for (std::size_t i = 0; i < run.metric_columns.size(); ++i) {
    const StoredColumn& c = run.metric_columns[i];
    column.bind(static_cast<std::int64_t>(i)).bind(c.name).bind(c.metric);
    column.bind(static_cast<std::int64_t>(c.kind)).bind(c.unit).run();
  }
}

void read_sites(Database& database, RunDescription& run) {
  Statement row(database,
                "SELECT name, target, operation, shape, values_, refusal, aliases, golden_minimum, "
                "golden_maximum, metadata, format FROM sites ORDER BY id");
  while (row.step()) {
    Site site;
    site.name = row.text(0);
    site.target = static_cast<Target>(row.integer(1));
    if (row.integer(1) < 0 || static_cast<std::size_t>(row.integer(1)) >= kTargetNames.size()) {
      throw Error(ExitCode::kInput, database.path().string() + ": is damaged: site '" + site.name +
                                        "' has the target " + std::to_string(row.integer(1)));
    }
    site.operation = row.text(2);
    site.shape = read_list<std::int64_t>(database, row.text(3));
    site.values = row.integer(4);
    site.refusal = row.text(5);
    site.aliases = read_list<std::string>(database, row.text(6));
    run.sites.push_back(std::move(site));
    run.site_formats.push_back(static_cast<std::int32_t>(row.integer(10)));
    if (row.is_null(9)) continue;
    SiteProfile profile;
    profile.golden = {static_cast<float>(row.real(7)), static_cast<float>(row.real(8))};
    profile.metadata = read_list<std::uint32_t>(database, row.text(9));
    run.profiles.push_back(std::move(profile));
  }
}

void read_formats(Database& database, RunDescription& run) {
  Statement row(database, "SELECT name, options FROM formats ORDER BY id");
  while (row.step()) run.formats.push_back({row.text(0), row.text(1), {}});
  const auto format_of = [&](std::int64_t id) -> StoredFormat& {
    if (id >= 0 && id < static_cast<std::int64_t>(run.formats.size())) {
      return run.formats[static_cast<std::size_t>(id)];
    }
    throw Error(ExitCode::kInput,
                database.path().string() + ": is damaged: it has no format " + std::to_string(id));
  };
  Statement kind(database, "SELECT format, name, bits FROM registers ORDER BY format, id");
  while (kind.step()) {
    format_of(kind.integer(0))
        .registers.push_back({kind.text(1), static_cast<int>(kind.integer(2)), {}});
  }
  Statement bit(database,
                "SELECT format, register, class FROM register_bits ORDER BY format, register, bit");
  while (bit.step()) {
    auto& registers = format_of(bit.integer(0)).registers;
    const auto id = static_cast<std::size_t>(bit.integer(1));
    if (id >= registers.size() || bit.integer(2) < 0 ||
        bit.integer(2) >= std::ssize(kBitClassNames)) {
      throw Error(ExitCode::kInput, database.path().string() + ": is damaged: register " +
                                        std::to_string(bit.integer(1)) + " has a bit of class " +
                                        std::to_string(bit.integer(2)));
    }
    registers[id].bit_classes.push_back(static_cast<BitClass>(bit.integer(2)));
  }
  for (const std::int32_t format : run.site_formats) {
    if (!format_of(format).registers.empty()) continue;
    throw Error(ExitCode::kInput, database.path().string() + ": is damaged: its format " +
                                      std::to_string(format) + " has no registers");
  }
}

}  // namespace

std::string sql_name(const std::string& name) {
  std::string text = "\"";
  for (const char c : name) text += c == '"' ? std::string("\"\"") : std::string(1, c);
  return text + "\"";
}

void check_metric_columns(const std::vector<StoredColumn>& columns) {
  std::vector<std::string> taken(kTaken.begin(), kTaken.end());
  for (const StoredColumn& column : columns) {
    const std::string name = lower(column.name);  // SQLite's names know no case
    if (name.empty() || std::find(taken.begin(), taken.end(), name) != taken.end()) {
      throw Error(ExitCode::kPlugin, "metric '" + column.metric + "' has a column called '" +
                                         column.name +
                                         "', a name that is already taken in the store; "
                                         "leave this metric out or rename its column");
    }
    taken.push_back(name);
  }
  constexpr std::size_t kMost = 1950;  // of some 2000 that a table of SQLite can have
  if (columns.size() <= kMost) return;
  std::map<std::string, std::size_t> counts;
  for (const StoredColumn& column : columns) ++counts[column.metric];
  const auto most =
      std::ranges::max_element(counts, {}, [](const auto& count) { return count.second; });
  throw Error(ExitCode::kPlugin,
              "the metrics have " + std::to_string(columns.size()) + " columns, " +
                  std::to_string(most->second) + " of them metric '" + most->first +
                  "'; together they can have " + std::to_string(kMost) + ": leave some out");
}

void write_schema(Database& database, const RunDescription& run) {
  check_metric_columns(run.metric_columns);
  database.execute("BEGIN");
  database.execute("PRAGMA application_id = " + std::to_string(kApplicationId));
  database.execute("PRAGMA user_version = " + std::to_string(kSchemaVersion));
  database.execute(kTables + trials_tables(run.metric_columns) + trials_view(run.metric_columns) +
                   edits_view() + summary_views());
  write_description(database, run);
  database.execute("COMMIT");
}

void check_schema(Database& database) {
  const std::string path = database.path().string();
  if (database.integer("PRAGMA application_id") != kApplicationId) {
    throw Error(ExitCode::kInput, path + ": is an SQLite file, but not a campaign of Bitfall");
  }
  const std::int64_t version = database.integer("PRAGMA user_version");
  if (version != kSchemaVersion) {
    throw Error(ExitCode::kInput, path + ": has schema version " + std::to_string(version) +
                                      ", this program reads version " +
                                      std::to_string(kSchemaVersion) +
                                      "; use the version of Bitfall that wrote it");
  }
  // A view, or a table that a module computes, could run for ever or give other rows each time.
  constexpr std::int64_t kTableCount = 14;
  if (database.integer(
          "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name IN "
          "('campaign', 'facts', 'classes', 'images', 'sites', 'strata', 'formats', 'registers', "
          "'register_bits', 'metric_columns', 'golden', 'messages', 'more_edits', 'trials')") !=
      kTableCount) {
    throw Error(ExitCode::kInput, path + ": is damaged: it lacks a table of a campaign");
  }
}

std::int64_t check_trial_numbers(Database& database) {
  const auto refuse = [&](const std::string& problem) {
    throw Error(ExitCode::kInput, database.path().string() + ": is damaged: " + problem);
  };
  Statement campaign(database, "SELECT trials FROM campaign");
  if (!campaign.step()) refuse("it has no campaign");
  const std::int64_t planned = campaign.integer(0);
  std::int64_t rest = planned;  // that no stratum has yet
  Statement stratum(database, "SELECT trials FROM strata");
  while (rest >= 0 && stratum.step()) {
    const std::int64_t count = stratum.integer(0);
    rest = count < 0 || count > rest ? -1 : rest - count;
  }
  if (rest != 0) {
    refuse("it plans " + std::to_string(planned) + " trials, and others in its strata");
  }
  for (const char* end : {"SELECT min(trial) FROM trials", "SELECT max(trial) FROM trials"}) {
    Statement row(database, end);
    if (!row.step() || row.is_null(0)) continue;
    if (row.integer(0) >= 0 && row.integer(0) < planned) continue;
    refuse("it holds trial " + std::to_string(row.integer(0)) + " of " + std::to_string(planned) +
           " planned ones (0 to " + std::to_string(planned - 1) + ")");
  }
  return planned;
}

RunDescription read_description(Database& database) {
  RunDescription run;
  Statement campaign(database, "SELECT file, text, fault_list, trials FROM campaign");
  if (!campaign.step()) {
    throw Error(ExitCode::kInput, database.path().string() + ": is damaged: it has no campaign");
  }
  run.campaign_file = campaign.text(0);
  run.campaign_text = campaign.text(1);
  run.fault_list_text = campaign.text(2);
  run.trials = campaign.integer(3);
  run.facts = read_facts(database);
  Statement classes(database, "SELECT name FROM classes ORDER BY id");
  while (classes.step()) run.classes.push_back(classes.text(0));
  Statement image(database, "SELECT name, label FROM images ORDER BY id");
  while (image.step()) {
    run.image_names.push_back(image.text(0));
    run.labels.push_back(static_cast<std::int32_t>(image.integer(1)));
  }
  read_sites(database, run);
  read_value_counts(database, run);
  constexpr std::int64_t kMostEntries = 1'000'000;
  Statement stratum(database,
                    "SELECT entry, site, population, trials, permanent FROM strata ORDER BY id");
  while (stratum.step()) {
    if (stratum.integer(0) < 0 || stratum.integer(0) > kMostEntries || stratum.integer(1) < 0 ||
        stratum.integer(1) >= std::ssize(run.sites)) {
      throw Error(ExitCode::kInput,
                  database.path().string() + ": is damaged: a stratum is of entry " +
                      std::to_string(stratum.integer(0)) + " and site " +
                      std::to_string(stratum.integer(1)) + ", which the run does not have");
    }
    run.strata.push_back({static_cast<std::int32_t>(stratum.integer(0)),
                          static_cast<std::int32_t>(stratum.integer(1)), stratum.real(2),
                          stratum.integer(3), stratum.integer(4) != 0});
  }
  run.metric_columns = read_metric_columns(database);
  read_formats(database, run);
  return run;
}

void write_facts(Database& database, const RunFacts& facts) {
  database.execute("DELETE FROM facts");
  Statement insert(database, "INSERT INTO facts VALUES(?,?)");
  for (const FactKey& fact : fact_keys()) {
    if (const auto value = fact.stored(facts)) insert.bind(fact.key).bind(*value).run();
  }
}

RunFacts read_facts(Database& database) {
  std::map<std::string, std::string> stored;
  Statement row(database, "SELECT key, value FROM facts");
  while (row.step()) stored[row.text(0)] = row.text(1);
  const auto refuse = [&](const std::string& key, const std::string& problem) {
    throw Error(ExitCode::kInput, database.path().string() + ": the fact '" + key + "' " + problem);
  };
  RunFacts facts;
  for (const FactKey& fact : fact_keys()) {
    const auto found = stored.find(fact.key);
    const std::string* text = found == stored.end() ? nullptr : &found->second;
    if (fact.read(text, facts)) continue;
    refuse(fact.key, text ? "is '" + *text + "', which makes no sense" : "is missing");
  }
  const auto is = [](double value) { return "is " + exact_text(value) + ", but must be "; };
  if (!(facts.confidence > 0 && facts.confidence < 1)) {
    refuse("confidence", is(facts.confidence) + "above 0 and under 1");
  }
  if (!(facts.clip > 0)) refuse("clip", is(facts.clip) + "above 0");
  return facts;
}

std::vector<StoredColumn> read_metric_columns(Database& database) {
  std::vector<StoredColumn> columns;
  Statement row(database, "SELECT name, metric, kind, unit FROM metric_columns ORDER BY id");
  while (row.step()) {
    if (row.integer(2) < 0 || row.integer(2) > static_cast<std::int64_t>(ColumnKind::kQuantity)) {
      throw Error(ExitCode::kInput, database.path().string() + ": is damaged: the metric '" +
                                        row.text(0) + "' is of kind " +
                                        std::to_string(row.integer(2)));
    }
    columns.push_back(
        {row.text(0), row.text(1), static_cast<ColumnKind>(row.integer(2)), row.text(3)});
  }
  return columns;
}

}  // namespace bitfall
