// The runs of a campaign with its protections: RUN/protected/NAME, whole runs with the trials of
// RUN.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "isolation.h"
#include "stored_session.h"

namespace bitfall {

struct ArmOptions {
  bool explain = false;           // where the time of each went
  bool json = false;              // no table of them
  std::string how_to_go_on = {};  // the command that does; empty: bitfall resume RUN
  /// That made the run, if it was this process: network, images and fault-free values are taken
  /// from it. Else null.
  Session* made_by = nullptr;
};

/// Runs the trials of a finished run with each [[protect]] entry of its campaign, or goes on with
/// those; then prints the table of them. Does nothing where there is none. Returns the process's
/// exit code.
int run_arms(const std::filesystem::path& run, const StoredPlugins& plugins,
             const ArmOptions& options);

/// A run to its end by workers in processes of their own, then those with its protections.
int run_isolated_with_arms(const IsolatedRun& isolated);
/// Of such a worker: begins the run with this protection, or goes on with it.
int work_at_arm(const std::filesystem::path& run, const StoredPlugins& plugins,
                const Isolation& worker);

/// The names of the [[protect]] entries of a run's campaign.
std::vector<std::string> protections_of(const std::filesystem::path& run);

/// Where the run with a protection lies.
std::filesystem::path arm_directory(const std::filesystem::path& run,
                                    const std::string& protection);

}  // namespace bitfall
