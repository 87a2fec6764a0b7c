// A stored run, opened to go on or to run a trial again.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "session.h"
#include "store.h"

namespace CLI {
class App;
}

namespace bitfall {

/// Options of commands that open a run again: where its plugins may be.
struct StoredPlugins {
  std::vector<std::filesystem::path> files;
  bool trust = false;
  std::vector<std::filesystem::path> mended = {};  // of `resume --with`

  void add_options(CLI::App& app);
};

/// The session that made the run, with its batch, threads and workers. What differs since then is
/// for check_same_facts() to say. `model`: another network in the place of the run's.
std::unique_ptr<Session> reopen(const std::filesystem::path& run, const RunDescription& stored,
                                const StoredPlugins& plugins,
                                const std::optional<std::filesystem::path>& model = {});

}  // namespace bitfall
