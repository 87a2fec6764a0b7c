#include "stored_session.h"

#include <CLI/CLI.hpp>
#include <optional>

#include "atomic_file.h"
#include "log.h"
#include "plan_pack.h"

namespace bitfall {

void StoredPlugins::add_options(CLI::App& app) {
  app.add_option("--plugin", files,
                 "file or folder that may hold a plugin of the run, found by its SHA-256");
  app.add_flag("--trust-plugins", trust,
               "also load the run's own copies of plugins, and what its campaign names, where "
               "another user made them");
}

std::unique_ptr<Session> reopen(const std::filesystem::path& run, const RunDescription& stored,
                                const StoredPlugins& plugins,
                                const std::optional<std::filesystem::path>& model) {
  std::optional<std::filesystem::path> faults;
  if (!stored.fault_list_text.empty()) {
    faults = run / "faults.csv";
    if (!absent_or_equal(*faults, stored.fault_list_text)) {
      log_warning(faults->string() +
                  ": is not the list that the run was made from; the run's own list is used");
    }
  }
  const RunFacts& facts = stored.facts;
  const ArmRequest arm{facts.protection.value_or(""), facts.answer_state.value_or("")};
  StoredRun held{
      Tuning{facts.batch, facts.threads, facts.workers, ""},
      facts.plugins,
      {run, plugins.trust, plugins.files, {}, plugins.mended},
      stored.fault_list_text,
      stored.image_names,
      model.value_or(""),
      pack_of(run),
      facts.sampling ? facts.sampling->rounds : std::vector<std::vector<std::int64_t>>()};
  return std::make_unique<Session>(facts.campaign_file, stored.campaign_text, faults, held,
                                   std::vector<std::filesystem::path>(), arm);
}

}  // namespace bitfall
