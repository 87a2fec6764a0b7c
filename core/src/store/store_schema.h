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

/// Throws Error(kInput) if the file is not a campaign, or one of another schema version.
void check_schema(Database& database);

RunDescription read_description(Database& database);
Facts read_facts(Database& database);
std::vector<StoredColumn> read_metric_columns(Database& database);

/// `name` as an SQL identifier.
std::string quoted(const std::string& name);

}  // namespace bitfall
