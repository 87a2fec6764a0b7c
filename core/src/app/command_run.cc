// bitfall run: a campaign file to its end.
#include <CLI/CLI.hpp>

#include "all_commands.h"
#include "arms.h"
#include "config.h"
#include "dry_run.h"
#include "error.h"
#include "execution.h"
#include "isolation.h"
#include "log.h"
#include "output_folder.h"
#include "resumption.h"
#include "sampling.h"
#include "stop.h"
#include "text_file.h"
#include "words.h"

namespace bitfall {
namespace {

class RunCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("run", "run a campaign file to its end");
    app->add_option("campaign", campaign_, "the campaign file (TOML)")->required();
    app->add_option(
        "--faults", faults_,
        "run exactly this fault list (CSV: site,image,target,element,register,op,mask)");
    app->add_option("-o,--output", output_, "run directory, instead of [campaign] output");
    app->add_flag("--dry-run", dry_run_,
                  "print population, trials, interval widths and time; write nothing");
    app->add_flag("--force", force_, "replace the run that the directory holds");
    app->add_option("--shard", shard_,
                    "I/N: only the I-th of N parts of the campaign, into a run directory of its "
                    "own; `bitfall merge` joins them to the result of a single run");
    app->add_option("--plugin", plugins_, "further shared libraries, beside [plugins] paths");
    app->add_flag("--explain", explain_,
                  "at the end: where the time went, and how many trials needed no run");
    app->add_flag("--resume", resume_,
                  "go on where the directory holds an unfinished run of this campaign; begin where "
                  "it holds none, and do nothing where it is finished")
        ->excludes("--force", "--dry-run");
    app->add_flag("--json", json_,
                  "JSON on stdout: an end record in place of the report, or the dry run")
        ->excludes("--explain");
    isolation_.add_options(*app);
    app->add_flag("--with-parent", with_parent_, kWithParentHelp);
    return app;
  }
  bool stoppable() const override { return true; }
  int run() override;

 private:
  IsolatedRun isolated(const std::string& text, const std::optional<Shard>& shard) const;
  std::optional<Shard> wanted_shard() const;
  Campaign parsed(const std::string& text) const;
  void refuse_goals(const std::string& text, const std::optional<Shard>& shard) const;
  bool can_resume(const std::string& text, const std::optional<Shard>& shard) const;
  void keep_to_shard(Session& session, const Shard& shard) const;
  int run_to_end(Session& session, const std::optional<Shard>& shard) const;

  std::filesystem::path campaign_;
  std::vector<std::filesystem::path> plugins_;
  std::filesystem::path faults_;  // empty = drawn
  std::filesystem::path output_;  // empty = the campaign's
  std::string shard_;             // "2/4": only the second of four parts; empty = all
  bool dry_run_ = false;
  bool force_ = false;
  bool explain_ = false;  // where the time went
  bool json_ = false;
  Isolation isolation_;
  bool resume_ = false;
  bool with_parent_ = false;
};

int RunCommand::run() {
  if (with_parent_) end_with_parent();
  const std::string text = read_text(campaign_);
  const std::optional<Shard> shard = wanted_shard();
  if (output_.empty()) {
    output_ = parsed(text).output;
    if (shard) {
      output_ += "-" + std::to_string(shard->index) + "of" + std::to_string(shard->count);
    }
  }
  refuse_goals(text, shard);
  if (isolation_.is_worker()) {
    confine_worker(isolation_, {nearest_existing(std::filesystem::absolute(output_).parent_path())},
                   parsed(text).device);
  } else if (isolation_.wanted) {
    return run_isolated_with_arms(isolated(text, shard));
  }
  if (resume_ && can_resume(text, shard)) {
    const int code = resume_run(output_, {plugins_, false},
                                {.explain = explain_, .json = json_, .how_to_go_on = ""});
    if (code != 0) return code;
    return run_arms(output_, {plugins_, false}, {.explain = explain_, .json = json_});
  }
  std::optional<std::filesystem::path> faults;
  if (!faults_.empty()) faults = faults_;
  Session session(campaign_, text, faults, std::nullopt, plugins_);
  session.check_protections();
  if (shard) keep_to_shard(session, *shard);
  if (dry_run_) return dry_run(session, output_, json_);
  const bool arms = !isolation_.is_worker() && !session.campaign().protect.empty();
  if (arms) session.engine().keep_golden();
  const int code = run_to_end(session, shard);
  if (code != 0 || !arms) return code;
  return run_arms(output_, {plugins_, true},
                  {.explain = explain_, .json = json_, .made_by = &session});
}

/// Ahead of the session, which reports what is wrong with it.
Campaign RunCommand::parsed(const std::string& text) const {
  Diagnostics ignored(campaign_.string(), text);
  return parse_campaign(campaign_, text, ignored);
}

void RunCommand::refuse_goals(const std::string& text, const std::optional<Shard>& shard) const {
  if (!shard && !isolation_.wanted) return;
  const Campaign campaign = parsed(text);
  if (faults_.empty()) bitfall::refuse_goals(campaign, shard ? "--shard" : "--isolate");
}

/// The commands that its workers are.
IsolatedRun RunCommand::isolated(const std::string& text, const std::optional<Shard>& shard) const {
  if (dry_run_ || explain_) {
    throw Error(ExitCode::kUsage, "--isolate: goes without --dry-run and --explain");
  }
  std::vector<std::string> go_on{"resume", output_.string()};
  std::vector<std::string> begin{"run", campaign_.string(), "--output", output_.string()};
  if (!faults_.empty()) begin.insert(begin.end(), {"--faults", faults_.string()});
  if (!shard_.empty()) begin.insert(begin.end(), {"--shard", shard_});
  if (force_) begin.emplace_back("--force");
  if (json_) go_on.emplace_back("--json");
  for (const auto& plugin : plugins_) {
    for (auto* words : {&begin, &go_on}) words->insert(words->end(), {"--plugin", plugin.string()});
  }
  const bool begun = resume_ && can_resume(text, shard);
  return {output_, begun ? go_on : begin, go_on, isolation_.most_crashes, json_};
}

std::optional<Shard> RunCommand::wanted_shard() const {
  if (shard_.empty()) return std::nullopt;
  const std::optional<Shard> shard = parse_shard(shard_);
  if (shard) return shard;
  throw Error(ExitCode::kUsage,
              "--shard " + shard_ +
                  ": give I/N with I from 1 to N, such as 2/4 for the second of four parts");
}

/// Whether the directory holds a run. Throws where that is one of another campaign.
bool RunCommand::can_resume(const std::string& text, const std::optional<Shard>& shard) const {
  if (!holds_run(output_)) return false;
  const RunDescription stored = Store::open_read_only(output_)->description();
  const std::string faults = faults_.empty() ? "" : read_text(faults_);
  const char* const other = stored.campaign_text != text       ? "campaign file"
                            : stored.fault_list_text != faults ? "fault list"
                            : stored.facts.shard != shard      ? "shard"
                                                               : nullptr;
  if (!other) return true;
  throw Error(ExitCode::kUsage, output_.string() + ": holds a run of another " + other + " than " +
                                    campaign_.string() +
                                    "; give another directory with -o, or replace it with --force");
}

void RunCommand::keep_to_shard(Session& session, const Shard& shard) const {
  if (!session.names_shape()) {
    throw Error(ExitCode::kUsage,
                campaign_.string() +
                    ": the shards of a campaign must agree on [run] batch and threads; name them "
                    "in the file (this machine would choose batch = " +
                    std::to_string(session.campaign().batch) +
                    ", threads = " + std::to_string(session.campaign().threads) + ")");
  }
  session.engine().set_shard(shard);
}

int RunCommand::run_to_end(Session& session, const std::optional<Shard>& shard) const {
  if (holds_run(output_) && !force_) {
    throw Error(ExitCode::kUsage,
                output_.string() + ": holds a run already; go on with `bitfall resume " +
                    shell_word(output_.string()) + "`, read it with `bitfall report " +
                    shell_word(output_.string()) + "`, or replace it with --force");
  }
  prove_can_be_made(output_);
  const auto existing = force_ ? Store::Existing::kReplace : Store::Existing::kRefuse;
  Store::prove_creatable(output_, session.campaign().text, session.fault_list_text(), existing);
  session.engine().preload(stop_requested);
  if (!session.profile(stop_requested)) {
    log_warning("interrupted before the first trial; nothing was written");
    return static_cast<int>(ExitCode::kInterrupted);
  }
  RunDescription run = session.describe();
  run.facts.created = now_text();
  run.facts.shard = shard;
  auto store = Store::create(output_, run, session.campaign().commit_every, existing);
  session.keep_plugins(output_);
  std::error_code ignored;  // those of the run that this one replaces
  if (force_) std::filesystem::remove_all(output_ / "protected", ignored);
  log_info(std::to_string(session.engine().trials(session.plan())) + " trials on " +
           std::to_string(session.dataset().size()) + " images into " + output_.string() +
           (shard ? ", shard " + to_string(*shard) : ""));
  if (isolation_.is_worker()) return work_isolated(session, std::move(store), isolation_);
  return execute(session, *store, {.explain = explain_, .json = json_, .how_to_go_on = ""});
}

}  // namespace

std::unique_ptr<Command> run_command() { return std::make_unique<RunCommand>(); }

}  // namespace bitfall
