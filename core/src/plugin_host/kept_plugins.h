// A run's own copies of the plugins that it used, so that it can be finished and replayed when
// their files have changed or gone. Plugins are found again by SHA-256, looked at before any of
// their code runs.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "plugin_fact.h"
#include "plugin_host.h"

namespace bitfall {

/// Where to look for it.
struct PluginPlaces {
  std::filesystem::path run;                 // whose copies are taken; empty = none
  bool trust = false;                        // also where another user made them
  std::vector<std::filesystem::path> files;  // or folders, ahead of BITFALL_PLUGIN_PATH
  // By the run's campaign, which others may have written: as its copies, only where this user or
  // root owns them.
  std::vector<std::filesystem::path> named = {};
  // In the place of the wanted plugins of the same names, whatever their hashes.
  std::vector<std::filesystem::path> mended = {};
};

/// Copies those plugins of `host` with these hashes that do not come with the program to
/// RUN/plugins/NAME-SHA256.so, in the place of copies that lie there unless `beside` them. Throws
/// Error(kInput) where a file is no longer what was loaded, Error(kFailure) where it cannot be
/// written.
void keep_plugins(const PluginHost& host, std::span<const PluginFact> wanted,
                  const std::filesystem::path& run, bool beside = false);

/// Loads the program's own plugins, then a file for each of the others that are wanted, and nothing
/// else. Where the very file is nowhere, one that was made of the same sources is loaded, and told
/// of. Throws Error(kInput) naming what was not found, and where it was sought, Error(kUsage)
/// where a mended plugin has the name of none of them.
void load_wanted(PluginHost& host, std::span<const PluginFact> wanted, const PluginPlaces& places);

}  // namespace bitfall
