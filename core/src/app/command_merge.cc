// bitfall merge: the shards of a campaign become one run.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>

#include "command.h"
#include "error.h"
#include "report.h"
#include "session.h"
#include "store.h"
#include "words.h"

namespace bitfall {
namespace {

/// A run to be merged, open for reading.
struct Part {
  std::filesystem::path run;
  std::unique_ptr<Store> store;
  RunDescription description;
  Shard shard;
};

Part open_part(const std::filesystem::path& run) {
  Part part{run, Store::open_read_only(run), {}, {}};
  part.description = part.store->description();
  const RunFacts& facts = part.description.facts;
  if (!facts.shard) {
    throw Error(ExitCode::kInput, run.string() +
                                      ": is not a shard; shards are made by bitfall run CAMPAIGN "
                                      "--shard I/N");
  }
  if (!facts.finished) {
    throw Error(ExitCode::kInput, run.string() + ": is not finished; go on with: bitfall resume " +
                                      shell_word(run.string()));
  }
  part.shard = *facts.shard;
  return part;
}

/// Throws unless the two are parts of one campaign.
void check_same_campaign(const Part& first, const Part& part) {
  if (part.description.campaign_text != first.description.campaign_text ||
      part.description.fault_list_text != first.description.fault_list_text) {
    throw Error(ExitCode::kInput, part.run.string() +
                                      ": was made from another campaign file or fault list than " +
                                      first.run.string());
  }
  try {
    check_same_facts(first.description.facts, part.description.facts);
  } catch (const Error& error) {
    throw Error(ExitCode::kInput, part.run.string() + " does not belong to " + first.run.string() +
                                      ": " + error.what());
  }
  if (part.shard.count != first.shard.count) {
    throw Error(ExitCode::kInput, part.run.string() + ": is shard " + to_string(part.shard) +
                                      ", of another division than shard " + to_string(first.shard) +
                                      " in " + first.run.string());
  }
}

/// The shards must be those of one campaign, each once and none missing.
void check_parts(const std::vector<Part>& parts) {
  std::map<std::int64_t, const Part*> by_index;
  for (const Part& part : parts) {
    check_same_campaign(parts.front(), part);
    const auto [same, added] = by_index.emplace(part.shard.index, &part);
    if (!added) {
      throw Error(ExitCode::kInput, part.run.string() + ": is shard " + to_string(part.shard) +
                                        ", which is given twice: " + same->second->run.string() +
                                        " is that shard too");
    }
  }
  constexpr std::size_t kMost = 20;
  std::vector<std::string> missing;
  const std::int64_t count = parts.front().shard.count;
  for (std::int64_t i = 1; i <= count && missing.size() <= kMost; ++i) {
    if (!by_index.contains(i)) missing.push_back(to_string(Shard{i, count}));
  }
  if (missing.empty()) return;
  if (missing.size() > kMost) missing.back() = "...";
  std::string list;
  for (const std::string& shard : missing) list += (list.empty() ? "" : ", ") + shard;
  throw Error(ExitCode::kInput, "shards are missing: " + list);
}

class MergeCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("merge", "join the shards of a campaign to one run");
    app->add_option("runs", runs_, "the shards' run directories, all of them")->required();
    app->add_option("-o,--output", output_, "run directory of the whole")->required();
    app->add_flag("--force", force_, "replace the run that the directory holds");
    return app;
  }
  int run() override;

 private:
  std::vector<std::filesystem::path> runs_;
  std::filesystem::path output_;
  bool force_ = false;
};

/// All that the parts hold, into a run that is not there before it is whole.
void join(const std::vector<Part>& parts, Store& whole, std::int64_t planned,
          const std::filesystem::path& output) {
  for (const Part& part : parts) {
    for (const GoldenResult& row : part.store->golden_rows()) whole.golden(row);
    part.store->for_each_trial([&](const TrialResult& trial) { whole.trial(trial); });
  }
  if (whole.count_done() != planned) {
    throw Error(ExitCode::kInput, "the shards hold " + std::to_string(whole.count_done()) + " of " +
                                      std::to_string(planned) +
                                      " trials; one of them was changed after it was finished");
  }
  std::error_code ignored;  // without copies, plugins are sought elsewhere
  using Options = std::filesystem::copy_options;
  std::filesystem::copy(parts.front().run / "plugins", output / "plugins",
                        Options::recursive | Options::overwrite_existing, ignored);
}

int MergeCommand::run() {
  if (!force_ && std::filesystem::exists(output_ / "campaign.sqlite")) {
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
  std::vector<Part> parts;
  for (const std::filesystem::path& run : runs_) parts.push_back(open_part(run));
  check_parts(parts);
  RunDescription run = parts.front().description;
  double seconds = 0;
  std::string finished;
  for (const Part& part : parts) {
    const RunFacts& facts = part.description.facts;
    seconds += facts.wall_s.value_or(0);
    finished = std::max(finished, *facts.finished);
  }
  run.facts.shard.reset();
  run.facts.finished.reset();
  run.facts.wall_s.reset();
  run.facts.merged = std::to_string(parts.size()) + " shards";
  const std::int64_t planned = run.trials;
  RunFacts facts = run.facts;
  facts.wall_s = seconds;
  facts.finished = finished;
  Store::create_complete(output_, run,
                         force_ ? Store::Existing::kReplace : Store::Existing::kRefuse, facts,
                         [&](Store& whole) { join(parts, whole, planned, output_); });
  const auto store = Store::open_read_only(output_);
  std::printf("%s", report_text(summarise(*store)).c_str());
  std::printf("\nrun directory: %s\nnext: bitfall report %s\n", output_.string().c_str(),
              shell_word(output_.string()).c_str());
  return 0;
}

}  // namespace

std::unique_ptr<Command> merge_command() { return std::make_unique<MergeCommand>(); }

}  // namespace bitfall
