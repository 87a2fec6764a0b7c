#include "seal.h"

#include <array>

#include "error.h"
#include "sha256.h"

namespace bitfall {
namespace {

// Keys of the table of facts, in the order of Seal's members.
constexpr std::array kSealKeys = {"digest", "digest_of_remarks", "digest_of_description"};

// All tables but those of trials, with what orders their rows.
struct SealedTable {
  const char* name;
  const char* order;
};
constexpr std::array kSealedTables = {SealedTable{"campaign", "rowid"},
                                      SealedTable{"classes", "id"},
                                      SealedTable{"images", "id"},
                                      SealedTable{"sites", "id"},
                                      SealedTable{"strata", "id"},
                                      SealedTable{"value_counts", "site, bit, class"},
                                      SealedTable{"formats", "id"},
                                      SealedTable{"registers", "format, id"},
                                      SealedTable{"register_bits", "format, register, bit"},
                                      SealedTable{"metric_columns", "id"},
                                      SealedTable{"golden", "image"}};

void add_rows(Sha256& hash, Statement& rows, std::string bytes) {
  constexpr std::size_t kHeld = std::size_t{1} << 15;
  while (rows.step()) {
    for (int column = 0; column < rows.columns(); ++column) rows.append_value(column, bytes);
    if (bytes.size() < kHeld) continue;
    hash.update(bytes.data(), bytes.size());
    bytes.clear();
  }
  hash.update(bytes.data(), bytes.size());
}

}  // namespace

std::optional<Seal> read_seal(Database& database) {
  std::array<std::string, kSealKeys.size()> values;
  for (std::size_t i = 0; i < kSealKeys.size(); ++i) {
    Statement row(database, "SELECT value FROM facts WHERE key = ?");
    row.bind(std::string_view(kSealKeys[i]));
    if (row.step()) values[i] = row.text(0);
  }
  if (values[0].empty() && values[1].empty() && values[2].empty()) return std::nullopt;
  return Seal{values[0], values[1], values[2]};
}

void write_seal(Database& database, const Seal& seal) {
  const std::array values = {&seal.trials, &seal.remarks, &seal.description};
  Statement insert(database, "INSERT OR REPLACE INTO facts VALUES(?,?)");
  for (std::size_t i = 0; i < kSealKeys.size(); ++i) {
    insert.bind(std::string_view(kSealKeys[i])).bind(std::string_view(*values[i])).run();
  }
}

void remove_seal(Database& database) {
  Statement remove(database, "DELETE FROM facts WHERE key = ?");
  for (const char* key : kSealKeys) remove.bind(std::string_view(key)).run();
}

std::string description_digest(Database& database) {
  Sha256 hash;
  for (const SealedTable& table : kSealedTables) {
    if (!database.has_table(table.name)) continue;  // of counts, most runs have none
    Statement rows(database,
                   std::string("SELECT * FROM ") + table.name + " ORDER BY " + table.order);
    add_rows(hash, rows, std::string(table.name) + '\n');
  }
  std::string keys;
  for (const char* key : kSealKeys) keys += (keys.empty() ? "'" : ", '") + std::string(key) + "'";
  Statement facts(database,
                  "SELECT key, value FROM facts WHERE key NOT IN (" + keys + ") ORDER BY key");
  add_rows(hash, facts, "facts\n");
  return hash.hex();
}

void refuse_changed(const Database& database, const std::string& what) {
  throw Error(ExitCode::kInput, database.path().string() +
                                    ": was changed after the run had finished: " + what +
                                    "; take it from a copy, or run the campaign again");
}

}  // namespace bitfall
