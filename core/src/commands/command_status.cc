// bitfall status: how far a run is.
#include <CLI/CLI.hpp>
#include <ctime>
#include <nlohmann/json.hpp>

#include "cluster_plan.h"
#include "file_commands.h"
#include "json_file.h"
#include "output.h"
#include "progress.h"
#include "report_number.h"
#include "statistics.h"
#include "store.h"
#include "text_table.h"
#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

class StatusCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app =
        parent.add_subcommand("status", "how far a run is, and the digest of its trials");
    app->add_option("run", run_, "the run directory, or the directory of a plan")->required();
    app->add_flag("--json", json_, "JSON on stdout");
    return app;
  }
  int run() override {
    const bool merged = holds_run(run_);
    return is_plan(run_) && !merged ? show_plan(read_plan(run_)) : show_run();
  }

 private:
  int show_run() const;
  int show_plan(const ClusterPlan& plan) const;

  std::filesystem::path run_;
  bool json_ = false;
};

/// All shards together.
struct ClusterTotal {
  std::int64_t finished = 0, done = 0, mismatches = 0, dues = 0;
  double rate = 0;  // of the shards that were heard of lately
};

constexpr double kLately = 60;  // seconds: a worker writes every few

bool heard_lately(const ShardState& state) {
  return state.started && !state.unreadable && !state.finished &&
         static_cast<double>(std::time(nullptr)) - state.updated < kLately;
}

const char* state_text(const ShardState& state) {
  if (state.finished) return "finished";
  if (!state.started) return "waiting";
  if (state.unreadable) return "unreadable";
  return heard_lately(state) ? "running" : "stopped";
}

void count(ClusterTotal& total, const ShardState& state) {
  total.finished += state.finished ? 1 : 0;
  total.done += state.done;
  total.mismatches += state.mismatches;
  total.dues += state.dues;
  if (heard_lately(state)) total.rate += state.rate;
}

nlohmann::ordered_json shard_json(std::int64_t number, const ShardState& state) {
  nlohmann::ordered_json json = {{"shard", number}, {"state", state_text(state)}};
  if (!state.started || state.unreadable) return json;
  json.update({{"trials", state.planned},
               {"done", state.done},
               {"rate", state.rate},
               {"host", state.host},
               {"process", state.process},
               {"updated", state.updated}});
  return json;
}

void print_plan_json(const ClusterPlan& plan, const std::vector<ShardState>& shards,
                     const ClusterTotal& total) {
  const Proportion mismatch = proportion(total.mismatches, total.done, 0.99);
  nlohmann::ordered_json document = {{"schema", "bitfall.plan_status/1"},
                                     {"directory", plan.directory.string()},
                                     {"shards", plan.shards},
                                     {"finished", total.finished},
                                     {"trials", plan.trials},
                                     {"done", total.done},
                                     {"rate", total.rate},
                                     {"mismatches", total.mismatches},
                                     {"mismatch_interval_99", nullptr},
                                     {"dues", total.dues}};
  if (total.done > 0) {
    document["mismatch_interval_99"] = {mismatch.headline.low, mismatch.headline.high};
  }
  for (std::size_t i = 0; i < shards.size(); ++i) {
    document["each"].push_back(shard_json(static_cast<std::int64_t>(i) + 1, shards[i]));
  }
  print_result("%s\n", json_text(document).c_str());
}

void print_shards(const std::vector<ShardState>& shards) {
  TextTable table({{"shard", TextTable::kRight},
                   {"state"},
                   {"trials", TextTable::kRight},
                   {"done", TextTable::kRight},
                   {"rate", TextTable::kRight},
                   {"host"},
                   {"written", TextTable::kRight}});
  const auto now = static_cast<double>(std::time(nullptr));
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const ShardState& state = shards[i];
    const std::string number = std::to_string(i + 1);
    if (!state.started || state.unreadable) {
      table.add({number, state_text(state), "", "", "", "", ""});
      continue;
    }
    table.add({number, state_text(state), std::to_string(state.planned), std::to_string(state.done),
               short_count(state.rate) + "/s", state.host,
               short_duration(now - state.updated) + " ago"});
  }
  print_result("%s\n", table.render().c_str());
}

int StatusCommand::show_plan(const ClusterPlan& plan) const {
  std::vector<ShardState> shards;
  ClusterTotal total;
  for (std::int64_t shard = 1; shard <= plan.shards; ++shard) {
    shards.push_back(shard_state(plan, shard));
    count(total, shards.back());
  }
  if (json_) {
    print_plan_json(plan, shards, total);
    return 0;
  }
  print_shards(shards);
  print_result("shards    %lld of %lld finished\ntrials    %lld of %lld",
               static_cast<long long>(total.finished), static_cast<long long>(plan.shards),
               static_cast<long long>(total.done), static_cast<long long>(plan.trials));
  if (total.rate > 0) {
    print_result(
        ", %s/s, ETA %s", short_count(total.rate).c_str(),
        short_duration(static_cast<double>(plan.trials - total.done) / total.rate).c_str());
  }
  if (total.done > 0) {
    print_result("\nmismatch  %s so far, at 99 %% confidence, trials taken as independent",
                 percent(proportion(total.mismatches, total.done, 0.99), 2).c_str());
  }
  const bool all = total.finished == plan.shards;
  print_result("\nnext      bitfall %s %s%s\n", all ? "merge" : "work",
               shell_word(plan.directory.string()).c_str(), all ? "" : " SHARD");
  return 0;
}

nlohmann::ordered_json outcomes_json(const OutcomeCounts& counts) {
  nlohmann::ordered_json json;
  for (std::size_t i = 0; i < counts.size(); ++i) json[kOutcomeNames[i]] = counts[i];
  return json;
}

/// " (2 crashed, 1 hung)", or nothing where all trials have an answer.
std::string due_text(const OutcomeCounts& counts) {
  std::string text;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0 || !is_due(static_cast<Outcome>(i))) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(counts[i]) + " " + kOutcomeNames[i];
  }
  return text.empty() ? "" : " (" + text + ")";
}

int StatusCommand::show_run() const {
  const auto store = Store::open_read_only(run_);
  const RunDescription description = store->description();
  const RunFacts& facts = description.facts;
  const std::int64_t done = store->count_done();
  const bool finished = facts.finished.has_value();
  const std::string digest = store->digest();
  const OutcomeCounts outcomes = store->count_outcomes();
  if (json_) {
    nlohmann::ordered_json document = {{"schema", "bitfall.status/1"},
                                       {"run", run_.string()},
                                       {"trials", description.trials},
                                       {"done", done},
                                       {"finished", finished},
                                       {"digest", digest},
                                       {"outcomes", outcomes_json(outcomes)},
                                       {"facts", told(facts)}};
    print_result("%s\n", json_text(document).c_str());
    return 0;
  }
  print_result("run       %s\nstate     %s\ntrials    %lld of %lld%s\n",
               printable(run_.string()).c_str(),
               finished                     ? "finished"
               : done == description.trials ? "all trials done, not closed"
                                            : "unfinished",
               static_cast<long long>(done), static_cast<long long>(description.trials),
               due_text(outcomes).c_str());
  std::string format = facts.format;
  if (!facts.format_options.empty()) format += " (" + facts.format_options + ")";
  if (!facts.site_formats.empty()) format += "; " + told(facts).at("site_formats");
  if (!facts.calibration.empty()) format += "; calibrated: " + facts.calibration;
  print_result(
      "model     %s\ndata      %s (%lld images)\nformat    %s\nfaults    %s\nseed      %llu\n"
      "digest    %s\n",
      printable(facts.model_path).c_str(), printable(facts.data_path).c_str(),
      static_cast<long long>(facts.images), printable(format).c_str(),
      printable(error_models_text(facts)).c_str(), static_cast<unsigned long long>(facts.seed),
      digest.c_str());
  if (!finished) print_result("next      bitfall resume %s\n", shell_word(run_).c_str());
  return 0;
}

}  // namespace

std::unique_ptr<Command> status_command() { return std::make_unique<StatusCommand>(); }

}  // namespace bitfall
