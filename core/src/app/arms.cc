#include "arms.h"

#include <cstdio>

#include "config.h"
#include "error.h"
#include "execution.h"
#include "log.h"
#include "output_folder.h"
#include "protection_rows.h"
#include "stop.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

fs::path directory_of(const fs::path& run, const std::string& protection) {
  return run / "protected" / protection;
}

/// The first session of an arm.
int start_arm(const fs::path& run, const RunDescription& base, const std::string& name,
              const StoredPlugins& plugins) {
  const auto session = open_arm(run, base, plugins, name);
  if (base.facts.shard) session->engine().set_shard(*base.facts.shard);
  const fs::path directory = directory_of(run, name);
  prove_can_be_made(directory);
  session->engine().preload(stop_requested);
  if (!session->profile(stop_requested)) {
    log_warning("interrupted; go on with:\n  bitfall resume " + shell_word(run.string()));
    return static_cast<int>(ExitCode::kInterrupted);
  }
  RunDescription description = session->describe();
  description.facts.created = now_text();
  description.facts.shard = base.facts.shard;
  const auto store = Store::create(directory, description, session->campaign().commit_every);
  session->keep_plugins(directory);
  log_info("protection '" + name +
           "': " + std::to_string(session->engine().trials(session->plan())) + " trials into " +
           directory.string());
  return execute(*session, *store, false, false);
}

}  // namespace

std::vector<std::string> protections_of(const RunDescription& run) {
  Diagnostics ignored("", "");  // it was read without an error once
  std::vector<std::string> names;
  for (const ProtectConfig& entry :
       parse_campaign(run.facts.campaign_file, run.campaign_text, ignored).protect) {
    names.push_back(entry.name);
  }
  return names;
}

int resume_run(const fs::path& run, const StoredPlugins& plugins, bool report) {
  std::unique_ptr<Store> store = Store::open(run, 256);
  const RunDescription stored = store->description();
  const std::optional<Shard>& shard = stored.facts.shard;
  const bool whole = store->count_done() == stored.trials;
  if (stored.facts.finished && (whole || shard)) {
    if (!report) return 0;
    std::printf("%s: finished already, %lld trials; read it with: bitfall report %s\n", run.c_str(),
                static_cast<long long>(store->count_done()), shell_word(run.string()).c_str());
    return 0;
  }
  const auto session = reopen(run, stored, plugins);
  check_same_facts(stored.facts, session->facts());
  store->set_commit_every(session->campaign().commit_every);
  session->use_profiles(stored.profiles);
  if (session->plan().size() != stored.trials) {
    throw Error(ExitCode::kInput, run.string() + ": planned " + std::to_string(stored.trials) +
                                      " trials then, " + std::to_string(session->plan().size()) +
                                      " now; the run cannot go on");
  }
  if (shard) session->engine().set_shard(*shard);
  const std::int64_t planned = session->engine().trials(session->plan());
  log_info("going on with " + std::to_string(planned - store->count_done()) + " of " +
           std::to_string(planned) + " trials");
  return execute(*session, *store, false, report);
}

int run_arms(const fs::path& run, const StoredPlugins& plugins) {
  const RunDescription base = Store::open_read_only(run)->description();
  const std::vector<std::string> names = protections_of(base);
  if (base.facts.protection || names.empty()) return 0;
  for (const std::string& name : names) {
    const fs::path directory = directory_of(run, name);
    const bool begun = fs::exists(directory / "campaign.sqlite");
    const int code = begun ? resume_run(directory, plugins, false) : start_arm(run, base, name, plugins);
    if (code != 0) return code;
  }
  const auto rows = protection_rows(run);
  std::printf("\n%s", protections_text(rows, base.facts.confidence).c_str());
  return 0;
}

}  // namespace bitfall
