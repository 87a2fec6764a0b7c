// bitfall status: how far a run is.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "command.h"
#include "store.h"
#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

class StatusCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app =
        parent.add_subcommand("status", "how far a run is, and the digest of its trials");
    app->add_option("run", run_, "the run directory")->required();
    app->add_flag("--json", json_, "JSON on stdout");
    return app;
  }
  int run() override;

 private:
  std::filesystem::path run_;
  bool json_ = false;
};

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

int StatusCommand::run() {
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
    std::printf("%s\n",
                document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return 0;
  }
  std::printf("run       %s\nstate     %s\ntrials    %lld of %lld%s\n",
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
  std::printf(
      "model     %s\ndata      %s (%lld images)\nformat    %s\nfaults    %s\nseed      %llu\n"
      "digest    %s\n",
      printable(facts.model_path).c_str(), printable(facts.data_path).c_str(),
      static_cast<long long>(facts.images), printable(format).c_str(),
      printable(error_models_text(facts)).c_str(), static_cast<unsigned long long>(facts.seed),
      digest.c_str());
  if (!finished) std::printf("next      bitfall resume %s\n", shell_word(run_).c_str());
  return 0;
}

}  // namespace

std::unique_ptr<Command> status_command() { return std::make_unique<StatusCommand>(); }

}  // namespace bitfall
