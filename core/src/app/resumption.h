// Going on with a stored run: what `resume` and `run --resume` have in common.
#pragma once

#include <filesystem>

#include "execution.h"
#include "stored_session.h"

namespace bitfall {

/// Runs what the run lacks; says so where that is nothing. Returns the process's exit code. Throws
/// Error(kInput) where something that decides results has changed since it began.
int resume_run(const std::filesystem::path& run, const StoredPlugins& plugins,
               const ExecutionOptions& options);

}  // namespace bitfall
