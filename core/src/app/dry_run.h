// `bitfall run --dry-run`: how many trials, how precise, how long.
#pragma once

#include <filesystem>

#include "session.h"

namespace bitfall {

/// Prints population, trials, interval widths and time of the session's campaign, which would be
/// stored in `output`; `json`: as JSON. Returns the process's exit code.
int dry_run(Session& session, const std::filesystem::path& output, bool json);

}  // namespace bitfall
