// The runs of a campaign with its protections: RUN/protected/NAME, whole runs with the trials of
// RUN.
#pragma once

#include <filesystem>

#include "stored_session.h"

namespace bitfall {

/// Runs the trials of a finished run with each [[protect]] entry of its campaign, or goes on with
/// those; then prints the table of them, unless `json`. Does nothing where there is none. Returns
/// the process's exit code.
int run_arms(const std::filesystem::path& run, const StoredPlugins& plugins, bool json);

}  // namespace bitfall
