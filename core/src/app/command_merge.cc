// bitfall merge: the shards of a campaign become one run.
#include <CLI/CLI.hpp>
#include <algorithm>

#include "all_commands.h"
#include "arms.h"
#include "cluster_plan.h"
#include "error.h"
#include "execution.h"
#include "log.h"
#include "output.h"
#include "report.h"
#include "shards.h"
#include "words.h"

namespace bitfall {
namespace {

class MergeCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("merge", "join the shards of a campaign to one run");
    app->add_option("runs", runs_,
                    "the shards' run directories, all of them; or the directory of a plan, which "
                    "then holds the whole run, too")
        ->required();
    app->add_option("-o,--output", output_, "run directory of the whole; not with a plan");
    app->add_flag("--force", force_, "replace the run that the directory holds");
    app->add_flag("--json", json_, "an end record in JSON on stdout, in place of the report");
    return app;
  }
  int run() override;

 private:
  void check_of_plan(const ClusterPlan& plan, const std::filesystem::path& run) const;
  int merge_plan(const ClusterPlan& plan);
  int show(const std::filesystem::path& run) const;

  std::vector<std::filesystem::path> runs_;
  std::filesystem::path output_;
  bool force_ = false;
  bool json_ = false;
};

int MergeCommand::run() {
  if (runs_.size() == 1 && is_plan(runs_.front())) return merge_plan(read_plan(runs_.front()));
  if (output_.empty()) {
    throw Error(ExitCode::kUsage, "-o is required: the run directory of the whole");
  }
  if (!force_ && holds_run(output_)) {
    throw Error(ExitCode::kUsage,
                "-o " + output_.string() +
                    ": holds a run already; give another folder to merge into, or "
                    "replace it with --force");
  }
  for (const std::filesystem::path& run : runs_) {
    std::error_code absent;
    if (!std::filesystem::equivalent(run, output_, absent)) continue;
    throw Error(ExitCode::kUsage, "-o " + output_.string() + ": is one of the shards");
  }
  merge_shards(runs_, output_, force_);
  merge_arms(runs_, output_, force_);
  return show(output_);
}

/// Throws where a run is not one of the plan's shards; that the others are of its kind, merging
/// checks.
void MergeCommand::check_of_plan(const ClusterPlan& plan, const std::filesystem::path& run) const {
  const RunDescription planned = planned_run(plan);
  const RunDescription stored = Store::open_read_only(run)->description();
  const bool same = stored.campaign_text == planned.campaign_text &&
                    stored.fault_list_text == planned.fault_list_text && stored.facts.shard &&
                    stored.facts.shard->count == plan.shards;
  if (!same) {
    throw Error(ExitCode::kInput, run.string() + ": is not a shard of " + plan.directory.string() +
                                      ", but of another plan; remove it");
  }
}

/// Whether the runs with protections are there, too.
bool has_arms(const std::filesystem::path& run) {
  const std::vector<std::string> names = protections_of(run);
  return std::all_of(names.begin(), names.end(),
                     [&](const auto& name) { return holds_run(arm_directory(run, name)); });
}

/// Into the plan's own directory; 75 while shards are missing.
int MergeCommand::merge_plan(const ClusterPlan& plan) {
  if (!output_.empty()) {
    throw Error(ExitCode::kUsage, "-o: the run of a plan lies in the plan's own directory");
  }
  if (holds_run(plan.directory) && has_arms(plan.directory)) {
    log_info(plan.directory.string() + ": merged already");
    return show(plan.directory);
  }
  std::vector<std::filesystem::path> shards;
  std::vector<std::string> missing;
  for (std::int64_t shard = 1; shard <= plan.shards; ++shard) {
    if (shard_state(plan, shard).finished) {
      shards.push_back(shard_directory(plan, shard));
    } else {
      missing.push_back(std::to_string(shard));
    }
  }
  if (!missing.empty()) {
    const std::size_t count = missing.size();
    constexpr std::size_t kMost = 20;
    if (count > kMost) missing.resize(kMost);
    log_warning(std::to_string(count) + " of " + std::to_string(plan.shards) +
                " shards are not finished: " + joined(missing, ", ") +
                (count > kMost ? ", ..." : "") + "; each: bitfall work " +
                shell_word(plan.directory.string()) + " SHARD");
    return static_cast<int>(ExitCode::kInterrupted);
  }
  if (!holds_run(plan.directory)) {
    try {
      check_of_plan(plan, shards.front());
      merge_shards(shards, plan.directory, false);
    } catch (const Error& error) {
      if (error.code() != ExitCode::kInput) throw;
      throw Error(error.code(), std::string(error.what()) +
                                    "\n  a shard whose folder is not whole is copied again, or "
                                    "removed and done anew: bitfall work " +
                                    shell_word(plan.directory.string()) + " SHARD");
    }
  }
  merge_arms(shards, plan.directory, false);
  return show(plan.directory);
}

int MergeCommand::show(const std::filesystem::path& run) const {
  const auto store = Store::open_read_only(run);
  if (json_) {
    print_end_record(*store, store->count_done());
    return 0;
  }
  print_result("%s", report_text(summarise(*store)).c_str());
  print_result("\nrun directory: %s\nnext: bitfall report %s\n", run.string().c_str(),
               shell_word(run.string()).c_str());
  return 0;
}

}  // namespace

std::unique_ptr<Command> merge_command() { return std::make_unique<MergeCommand>(); }

}  // namespace bitfall
