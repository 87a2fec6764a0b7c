#include "arms.h"

#include <functional>

#include "config.h"
#include "error.h"
#include "execution.h"
#include "log.h"
#include "output.h"
#include "output_folder.h"
#include "protection_rows.h"
#include "report.h"
#include "resumption.h"
#include "stop.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

/// The run without a protection, opened to begin those with one.
std::unique_ptr<Session> open_base(const fs::path& run, const RunDescription& base,
                                   const StoredPlugins& plugins) {
  auto session = reopen(run, base, plugins);
  RunFacts expected = base.facts;
  if (!plugins.mended.empty()) expected.plugins = session->facts().plugins;
  check_same_facts(expected, session->facts());
  session->use_profiles(base.profiles);
  return session;
}

/// The first session of an arm.
int start_arm(Session& without, const fs::path& run, const RunDescription& base,
              const std::string& name, const ExecutionOptions& options) {
  const auto session = without.protected_by(name);
  if (base.facts.shard) session->engine().set_shard(*base.facts.shard);
  const fs::path directory = arm_directory(run, name);
  prove_can_be_made(directory);
  session->engine().preload(stop_requested);
  const auto golden = Store::open_read_only(run)->golden_rows();
  if (!session->profile_beside(base, golden, stop_requested)) {
    log_warning("interrupted; go on with:\n  " + options.how_to_go_on);
    return static_cast<int>(ExitCode::kInterrupted);
  }
  RunDescription description = session->describe();
  description.facts.created = now_text();
  description.facts.shard = base.facts.shard;
  auto store = Store::create(directory, description, session->campaign().commit_every);
  session->keep_plugins(directory);
  log_info("protection '" + name +
           "': " + std::to_string(session->engine().trials(session->plan())) + " trials into " +
           directory.string());
  if (options.worker) return work_isolated(*session, std::move(store), *options.worker);
  return execute(*session, *store, options);
}

std::vector<std::string> names_of_arms(const RunDescription& run) {
  Diagnostics ignored("", "");  // it was read without an error once
  return parse_campaign(run.facts.campaign_file, run.campaign_text, ignored).protected_runs();
}

/// Brings the runs of a campaign's protections to their ends, and prints the table of them.
int run_each_arm(
    const fs::path& run, bool json,
    const std::function<int(const RunDescription& base, const std::string& name)>& bring_to_end) {
  const RunDescription base = Store::open_read_only(run)->description();
  const std::vector<std::string> names = names_of_arms(base);
  if (base.facts.protection || names.empty()) return 0;
  for (const std::string& name : names) {
    if (const int code = bring_to_end(base, name); code != 0) return code;
  }
  if (json) return 0;
  const auto rows = protection_rows(run, SummaryOptions());
  print_result("\n%s", protections_text(rows, base.facts.confidence).c_str());
  return 0;
}

}  // namespace

std::vector<std::string> protections_of(const fs::path& run) {
  return names_of_arms(Store::open_read_only(run)->description());
}

fs::path arm_directory(const fs::path& run, const std::string& protection) {
  return run / "protected" / protection;
}

int run_arms(const fs::path& run, const StoredPlugins& plugins, const ArmOptions& given) {
  const ExecutionOptions options{.explain = given.explain,
                                 .report = false,
                                 .how_to_go_on = given.how_to_go_on.empty()
                                                     ? "bitfall resume " + shell_word(run.string())
                                                     : given.how_to_go_on};
  std::unique_ptr<Session> opened;
  return run_each_arm(run, given.json, [&](const RunDescription& base, const std::string& name) {
    const fs::path directory = arm_directory(run, name);
    if (holds_run(directory)) return resume_run(directory, plugins, options);
    if (given.made_by == nullptr && !opened) opened = open_base(run, base, plugins);
    return start_arm(opened ? *opened : *given.made_by, run, base, name, options);
  });
}

int run_isolated_with_arms(const IsolatedRun& isolated) {
  if (const int code = run_isolated(isolated); code != 0) return code;
  const fs::path& run = isolated.directory;
  return run_each_arm(run, isolated.json, [&](const RunDescription&, const std::string& name) {
    IsolatedRun arm = isolated;
    arm.directory = arm_directory(run, name);
    arm.of = run;
    arm.json = false;
    arm.go_on.insert(arm.go_on.end(), {"--isolated-arm", name});
    arm.begin = arm.go_on;
    return run_isolated(arm);
  });
}

int work_at_arm(const fs::path& run, const StoredPlugins& plugins, const Isolation& worker) {
  const ExecutionOptions options{.report = false, .worker = &worker};
  const fs::path directory = arm_directory(run, worker.arm);
  if (holds_run(directory)) return resume_run(directory, plugins, options);
  const RunDescription base = Store::open_read_only(run)->description();
  return start_arm(*open_base(run, base, plugins), run, base, worker.arm, options);
}

}  // namespace bitfall
