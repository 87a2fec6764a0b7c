// bitfall merge: the shards of a campaign become one run.
#include <algorithm>
#include <cstdio>

#include "commands.h"
#include "error.h"
#include "log.h"
#include "report.h"
#include "session.h"
#include "shell_word.h"
#include "store.h"

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
                                      ": is no shard; shards are made by bitfall run CAMPAIGN "
                                      "--shard I/N");
  }
  if (!facts.finished) {
    throw Error(ExitCode::kInput, run.string() + ": is not finished; go on with: bitfall resume " +
                                      shell_word(run.string()));
  }
  part.shard = *facts.shard;
  return part;
}

/// The shards must be those of one campaign, each once and none missing.
void check_parts(const std::vector<Part>& parts) {
  const Part& first = parts.front();
  std::vector<Shard> missing;
  for (std::int64_t i = 1; i <= first.shard.count; ++i) missing.push_back({i, first.shard.count});
  for (const Part& part : parts) {
    if (part.description.campaign_text != first.description.campaign_text ||
        part.description.fault_list_text != first.description.fault_list_text) {
      throw Error(ExitCode::kInput, part.run.string() +
                                        ": was made from another campaign file or "
                                        "fault list than " +
                                        first.run.string());
    }
    try {
      check_same_facts(first.description.facts, part.description.facts);
    } catch (const Error& error) {
      throw Error(ExitCode::kInput, part.run.string() + " does not belong to " +
                                        first.run.string() + ": " + error.what());
    }
    const auto found = std::find(missing.begin(), missing.end(), part.shard);
    if (found == missing.end()) {
      throw Error(ExitCode::kInput,
                  part.run.string() + ": is shard " + to_string(part.shard) +
                      ", which is given twice or belongs to another division than "
                      "shard " +
                      to_string(first.shard) + " in " + first.run.string());
    }
    missing.erase(found);
  }
  if (missing.empty()) return;
  std::string list;
  for (const Shard& shard : missing) list += (list.empty() ? "" : ", ") + to_string(shard);
  throw Error(ExitCode::kInput, "shards are missing: " + list);
}

}  // namespace

int merge_command(const MergeOptions& options) {
  std::vector<Part> parts;
  for (const std::filesystem::path& run : options.runs) parts.push_back(open_part(run));
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
  const auto store = Store::create(options.output, run, 100000);
  for (const Part& part : parts) {
    for (const GoldenResult& row : part.store->golden_rows()) store->golden(row);
    part.store->for_each_trial([&](const TrialResult& trial) { store->trial(trial); });
  }
  if (store->count_done() != run.trials) {
    throw Error(ExitCode::kInput, "the shards hold " + std::to_string(store->count_done()) +
                                      " of " + std::to_string(run.trials) +
                                      " trials; one of them was changed after it was finished");
  }
  run.facts.wall_s = seconds;
  run.facts.finished = finished;
  store->set_facts(run.facts);
  std::printf("%s", report_text(summarise(*store)).c_str());
  std::printf("\nrun directory: %s\nnext: bitfall report %s\n", options.output.string().c_str(),
              shell_word(options.output.string()).c_str());
  return 0;
}

}  // namespace bitfall
