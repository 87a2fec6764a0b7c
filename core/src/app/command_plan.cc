// bitfall plan: a campaign, divided among machines.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "all_commands.h"
#include "cluster_plan.h"
#include "error.h"
#include "execution.h"
#include "json_file.h"
#include "log.h"
#include "output.h"
#include "output_folder.h"
#include "plan_pack.h"
#include "progress.h"
#include "sampling.h"
#include "session.h"
#include "stop.h"
#include "stored_session.h"
#include "text_file.h"
#include "words.h"

namespace bitfall {
namespace {

constexpr const char* kPlanHelp =
    R"(Every machine must see DIR, model and data under the same paths, or have a copy of DIR (--pack). A shard may be worked any number of
times, in the same words: it begins, goes on, or is finished.

Examples:
  bitfall plan campaign.toml -o DIR --shards 64
  bitfall plan campaign.toml -o DIR --shards 64 --pack   DIR can be copied to other machines
  bitfall work DIR 7                        shard 7: start, go on, or done (exit code 75: again)
  bitfall status DIR                        how far each shard is
  bitfall merge DIR                         the whole run, with the digest of an undivided one)";

class PlanCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("plan", "divide a campaign among machines");
    app->footer(kPlanHelp);
    app->add_option("campaign", campaign_, "the campaign file (TOML)")->required();
    app->add_option("-o,--output", output_, "directory that all machines see")->required();
    app->add_option("--shards", shards_, "number of parts, of equally many trials")
        ->required()
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{1000000}));
    app->add_option("--faults", faults_, "run exactly this fault list (CSV)");
    app->add_option("--plugin", plugins_, "further shared libraries, beside [plugins] paths");
    app->add_flag("--pack", pack_,
                  "copy network, images and libraries into the directory, for machines that share "
                  "no folder");
    app->add_flag("--no-estimate", no_estimate_, "do not run a part of it to estimate the time");
    app->add_flag("--json", json_, "JSON on stdout");
    return app;
  }
  bool stoppable() const override { return true; }
  int run() override;

 private:
  void pack(const Session& session, const ClusterPlan& plan) const;
  void check_planned(const ClusterPlan& plan, const std::string& text) const;
  int show(const ClusterPlan& plan) const;

  std::filesystem::path campaign_, output_, faults_;
  std::vector<std::filesystem::path> plugins_;
  std::int64_t shards_ = 0;
  bool pack_ = false;
  bool no_estimate_ = false;
  bool json_ = false;
};

int PlanCommand::run() {
  const std::string text = read_text(campaign_);
  if (is_plan(output_)) {
    const ClusterPlan plan = read_plan(output_);
    check_planned(plan, text);
    log_info(output_.string() + ": planned already");
    return show(plan);
  }
  prove_can_be_made(output_);
  std::optional<std::filesystem::path> faults;
  if (!faults_.empty()) faults = faults_;
  Session session(campaign_, text, faults, std::nullopt, plugins_);
  session.check_protections();
  if (faults_.empty()) refuse_goals(session.campaign(), "a plan for many machines");
  if (!session.profile(stop_requested)) {
    log_warning("interrupted; nothing was planned");
    return static_cast<int>(ExitCode::kInterrupted);
  }
  ClusterPlan plan{output_, shards_, session.plan().size(), std::nullopt};
  if (!no_estimate_) {
    plan.seconds =
        session.engine().estimate_seconds(session.plan(), session.measure(), stop_requested);
    if (!plan.seconds) return static_cast<int>(ExitCode::kInterrupted);
  }
  RunDescription description = session.describe();
  description.facts.created = now_text();
  Store::create(pattern_directory(plan), description, 1, Store::Existing::kReplace)->commit();
  session.keep_plugins(pattern_directory(plan));
  if (pack_) pack(session, plan);
  write_plan(plan);
  return show(plan);
}

/// Copies what the plan needs, and proves on the copy that it is all.
void PlanCommand::pack(const Session& session, const ClusterPlan& plan) const {
  const std::vector<FileInUse> files = session.option_files();
  const std::int64_t bytes = write_pack(plan.directory, session.campaign(), files);
  const std::filesystem::path pattern = pattern_directory(plan);
  const RunDescription planned = Store::open_read_only(pattern)->description();
  check_same_facts(planned.facts, reopen(pattern, planned, {plugins_, true})->facts());
  log_info("packed: " + std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB");
}

/// Throws unless the plan that is there is this one.
void PlanCommand::check_planned(const ClusterPlan& plan, const std::string& text) const {
  const RunDescription stored = planned_run(plan);
  const std::string faults = faults_.empty() ? "" : read_text(faults_);
  std::string other;
  if (stored.campaign_text != text) other = "of another campaign file than " + campaign_.string();
  if (stored.fault_list_text != faults) other = "of another fault list";
  if (pack_ && pack_of(plan.directory).empty()) other = "without a pack";
  if (plan.shards != shards_) other = "of " + std::to_string(plan.shards) + " shards";
  if (other.empty()) return;
  throw Error(ExitCode::kUsage, output_.string() + ": holds a plan " + other +
                                    "; give another directory, or remove that one");
}

int PlanCommand::show(const ClusterPlan& plan) const {
  const std::string directory = plan.directory.string();
  const std::int64_t each = (plan.trials + plan.shards - 1) / plan.shards;
  if (json_) {
    nlohmann::ordered_json document = {{"schema", "bitfall.plan/1"},  {"directory", directory},
                                       {"shards", plan.shards},       {"trials", plan.trials},
                                       {"trials_per_shard", each},    {"seconds", nullptr},
                                       {"seconds_per_shard", nullptr}};
    if (plan.seconds) {
      document["seconds"] = *plan.seconds;
      document["seconds_per_shard"] = *plan.seconds / static_cast<double>(plan.shards);
    }
    print_result("%s\n", json_text(document).c_str());
    return 0;
  }
  print_result("%lld shards of %lld trials", static_cast<long long>(plan.shards),
               static_cast<long long>(each));
  if (plan.seconds) {
    const double seconds = *plan.seconds / static_cast<double>(plan.shards);
    print_result(", each about %s on this machine and the time to open the network",
                 short_duration(std::max(seconds, 1.0)).c_str());
  }
  const std::string word = shell_word(directory);
  print_result("\neach: bitfall work %s SHARD   (1 to %lld)\nthen: bitfall merge %s\n",
               word.c_str(), static_cast<long long>(plan.shards), word.c_str());
  if (!pack_of(plan.directory).empty()) {
    print_result(
        "where machines do not share it: copy it to each, and what they make of it, %s/shards/*, "
        "back\n",
        word.c_str());
  }
  return 0;
}

}  // namespace

std::unique_ptr<Command> plan_command() { return std::make_unique<PlanCommand>(); }

}  // namespace bitfall
