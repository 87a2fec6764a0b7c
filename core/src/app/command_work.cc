// bitfall work: a shard of a plan, to its end.
#include <CLI/CLI.hpp>

#include "all_commands.h"
#include "arms.h"
#include "cluster_plan.h"
#include "config.h"
#include "error.h"
#include "execution.h"
#include "log.h"
#include "output.h"
#include "plan_pack.h"
#include "resumption.h"
#include "stop.h"
#include "torch_runtime.h"
#include "words.h"

namespace bitfall {
namespace {

class WorkCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("work", "run a shard of a plan: start, go on, or done");
    app->add_option("directory", directory_, "the directory of the plan")->required();
    app->add_option("shard", shard_, "the shard's number, from 1")->required();
    plugins_.add_options(*app);
    app->add_flag("--json", json_, "an end record in JSON on stdout, in place of the report");
    app->add_flag("--with-parent", with_parent_, kWithParentHelp);
    return app;
  }
  bool stoppable() const override { return true; }
  int run() override;

 private:
  int work(const ClusterPlan& plan) const;
  RunDescription shard_run(const ClusterPlan& plan, const RunDescription& planned) const;
  /// arms: runs with protections follow, of what `session` then keeps.
  int start(const ClusterPlan& plan, RunDescription planned, const ExecutionOptions& options,
            bool arms, std::unique_ptr<Session>& session) const;
  int go_on(const ClusterPlan& plan, const RunDescription& planned,
            const ExecutionOptions& options) const;
  std::string place(const ClusterPlan& plan) const {
    return "shard " + std::to_string(shard_) + " of " + plan.directory.string();
  }

  std::filesystem::path directory_;
  std::int64_t shard_ = 0;
  StoredPlugins plugins_;
  bool json_ = false;
  bool with_parent_ = false;
};

/// What can be told before the network is opened.
void check_machine(const RunDescription& run) {
  const RunFacts& planned = run.facts;
  TorchRuntime& torch = TorchRuntime::get();
  Diagnostics ignored(planned.campaign_file, run.campaign_text);  // the session reports them all
  const Campaign campaign = parse_campaign(planned.campaign_file, run.campaign_text, ignored);
  if (campaign.cpu == CpuInstructions::kAvx2) torch.keep_to_avx2();
  RunFacts here = planned;
  here.torch_version = torch.version();
  here.cpu = torch.cpu();
  check_same_facts(planned, here);
}

int WorkCommand::run() {
  if (with_parent_) end_with_parent();
  const ClusterPlan plan = read_plan(directory_);
  check_shard_number(plan, shard_);
  try {
    if (!shard_state(plan, shard_).finished) return work(plan);
    shard_run(plan, planned_run(plan));
    print_result("%s: finished already\n", place(plan).c_str());
    return 0;
  } catch (const Error& error) {
    throw Error(error.code(), place(plan) + ": " + error.what());
  }
}

int WorkCommand::work(const ClusterPlan& plan) const {
  if (const auto pack = pack_of(plan.directory); !pack.empty()) check_pack(pack);
  const RunDescription planned = planned_run(plan);
  const std::filesystem::path run = shard_directory(plan, shard_);
  const bool arms = !protections_of(pattern_directory(plan)).empty();
  const ExecutionOptions options{.explain = false,
                                 .json = json_,
                                 .how_to_go_on = "bitfall work " + shell_word(directory_.string()) +
                                                 " " + std::to_string(shard_),
                                 .state_file = progress_file(plan, shard_),
                                 .more_follows = arms};
  std::unique_ptr<Session> session;  // of a shard that begins
  int code =
      holds_run(run) ? go_on(plan, planned, options) : start(plan, planned, options, arms, session);
  if (code != 0 || !arms) return code;
  code = run_arms(run, plugins_,
                  {.json = json_, .how_to_go_on = options.how_to_go_on, .made_by = session.get()});
  if (code != 0) return code;
  const auto store = Store::open_read_only(run);
  note_state(*store, options.state_file, store->count_done(), true);
  return 0;
}

int WorkCommand::start(const ClusterPlan& plan, RunDescription planned,
                       const ExecutionOptions& options, bool arms,
                       std::unique_ptr<Session>& session) const {
  check_machine(planned);
  session = reopen(pattern_directory(plan), planned, plugins_);
  check_same_facts(planned.facts, session->facts());
  session->use_profiles(planned.profiles);
  if (session->plan().size() != planned.trials) {
    throw Error(ExitCode::kInput, "planned were " + std::to_string(planned.trials) +
                                      " trials, now it is " +
                                      std::to_string(session->plan().size()) + "; plan again");
  }
  const Shard shard{shard_, plan.shards};
  session->engine().set_shard(shard);
  if (arms) session->engine().keep_golden();
  planned.facts.shard = shard;
  planned.facts.created = now_text();
  const std::filesystem::path run = shard_directory(plan, shard_);
  const auto store = Store::create(run, planned, session->campaign().commit_every);
  session->keep_plugins(run);
  return execute(*session, *store, options);
}

/// The shard's run. Throws where it cannot be read, or is of another plan.
RunDescription WorkCommand::shard_run(const ClusterPlan& plan,
                                      const RunDescription& planned) const {
  const std::filesystem::path run = shard_directory(plan, shard_);
  RunDescription stored;
  try {
    stored = Store::open_read_only(run)->description();
  } catch (const Error& error) {
    throw Error(error.code(), std::string(error.what()) + "; copy the folder " + run.string() +
                                  " again, or remove it and start the shard anew");
  }
  if (stored.campaign_text != planned.campaign_text ||
      stored.fault_list_text != planned.fault_list_text ||
      stored.facts.shard != Shard{shard_, plan.shards}) {
    throw Error(ExitCode::kInput, run.string() + ": is of another plan; remove that folder");
  }
  return stored;
}

int WorkCommand::go_on(const ClusterPlan& plan, const RunDescription& planned,
                       const ExecutionOptions& options) const {
  check_machine(shard_run(plan, planned));
  return resume_run(shard_directory(plan, shard_), plugins_, options);
}

}  // namespace

std::unique_ptr<Command> work_command() { return std::make_unique<WorkCommand>(); }

}  // namespace bitfall
