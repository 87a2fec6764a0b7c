// The tables of campaign.sqlite, and the part of them that is written once, when the run is
// created.
#pragma once

#include <vector>

#include "sqlite.h"
#include "store.h"

namespace bitfall {

/// "BTFL": identifies our files among SQLite's (PRAGMA application_id).
inline constexpr std::int64_t kApplicationId = 0x4254464C;

/// Creates tables and views in an empty database and fills in the description, in one transaction.
/// Throws Error(kPlugin) where a metric column's name is taken by a column of the store.
void write_schema(Database& database, const RunDescription& run);

/// Throws Error(kInput) if the file is not a campaign, or one of another schema version, or if its
/// tables are other things than tables.
void check_schema(Database& database);

/// Throws Error(kInput) unless the numbers of trials go together: those planned are those of all
/// strata, and those stored are among them. Returns how many are planned.
std::int64_t check_trial_numbers(Database& database);

/// Throws Error(kInput) where something in it stands for nothing.
RunDescription read_description(Database& database);

/// Replaces the facts of the database.
void write_facts(Database& database, const RunFacts& facts);
/// Throws Error(kInput) naming the file, the key and the value where one is missing or makes no
/// sense. Keys that this version does not know are passed over.
RunFacts read_facts(Database& database);

std::vector<StoredColumn> read_metric_columns(Database& database);

/// `name` as an SQL identifier.
std::string sql_name(const std::string& name);

}  // namespace bitfall
