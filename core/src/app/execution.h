// What `run` and `resume` have in common: trials into a store until all are there.
#pragma once

#include <string>

#include "session.h"
#include "store.h"

namespace bitfall {

/// Runs what the store does not hold yet, with progress on stderr, and prints the report when all
/// is done. `explain`: also where the time went. Returns the process's exit code; stopped
/// (stop_requested), it says how to go on.
int execute(Session& session, Store& store, bool explain = false, bool report = true);

/// UTC, "2026-01-31T23:59:59Z".
std::string now_text();

}  // namespace bitfall
