#include "shards.h"

#include <algorithm>
#include <map>

#include "arms.h"
#include "error.h"
#include "session.h"
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

// The same numbers; every NaN is the same.
bool same_golden(const GoldenResult& a, const GoldenResult& b) {
  const auto same = [](auto x, auto y) { return x == y || (x != x && y != y); };
  return a.image == b.image && same(a.loss, b.loss) && a.top1 == b.top1 &&
         same(a.top2diff, b.top2diff) && same(a.fp32_loss, b.fp32_loss) &&
         a.fp32_top1 == b.fp32_top1;
}

/// Throws where two shards computed another answer without a fault: one machine computes otherwise.
class GoldenRows {
 public:
  void add(const Part& part, Store& into) {
    for (const GoldenResult& row : part.store->golden_rows()) {
      const auto [known, added] = rows_.emplace(row.image, std::pair(row, &part));
      if (added) {
        into.golden(row);
      } else if (!same_golden(known->second.first, row)) {
        throw Error(
            ExitCode::kInput,
            part.run.string() + " and " + known->second.second->run.string() +
                ": have other answers without a fault to the image " +
                part.description.image_names[static_cast<std::size_t>(row.image)] +
                ", so one of the machines computes otherwise; run one of the two again. "
                "Processors of AMD and of Intel compute alike with [run] cpu = \"avx2\" and "
                "MKL_CBWR=COMPATIBLE in the environment of all");
      }
    }
  }

 private:
  std::map<std::int32_t, std::pair<GoldenResult, const Part*>> rows_;  // by image
};

/// The description of the whole, with what its parts took together.
RunDescription whole_of(const std::vector<Part>& parts) {
  RunDescription run = parts.front().description;
  run.facts.shard.reset();
  run.facts.finished.reset();
  run.facts.wall_s.reset();
  run.facts.merged = std::to_string(parts.size()) + " shards";
  return run;
}

void copy_trials(const std::vector<Part>& parts, const RunDescription& run, Store& store) {
  GoldenRows golden;
  for (const Part& part : parts) {
    golden.add(part, store);
    part.store->for_each_trial([&](const TrialResult& trial) { store.trial(trial); });
  }
  if (store.count_done() == run.trials) return;
  throw Error(ExitCode::kInput, "the shards hold " + std::to_string(store.count_done()) + " of " +
                                    std::to_string(run.trials) +
                                    " trials; one of them was changed after it was finished");
}

/// What the whole ends with.
RunFacts last_facts(const std::vector<Part>& parts, RunFacts facts) {
  double seconds = 0;
  std::string finished;
  for (const Part& part : parts) {
    seconds += part.description.facts.wall_s.value_or(0);
    finished = std::max(finished, *part.description.facts.finished);
  }
  facts.wall_s = seconds;
  facts.finished = finished;
  return facts;
}

}  // namespace

void merge_shards(const std::vector<std::filesystem::path>& runs,
                  const std::filesystem::path& output, bool replace) {
  std::vector<Part> parts;
  for (const std::filesystem::path& run : runs) parts.push_back(open_part(run));
  check_parts(parts);
  const RunDescription run = whole_of(parts);
  const auto existing = replace ? Store::Existing::kReplace : Store::Existing::kRefuse;
  Store::create_complete(output, run, existing, last_facts(parts, run.facts), [&](Store& whole) {
    copy_trials(parts, run, whole);
    std::error_code ignored;  // without copies, plugins are sought elsewhere
    using Options = std::filesystem::copy_options;
    std::filesystem::copy(runs.front() / "plugins", output / "plugins",
                          Options::recursive | Options::overwrite_existing, ignored);
  });
}

void merge_arms(const std::vector<std::filesystem::path>& runs, const std::filesystem::path& output,
                bool replace) {
  for (const std::string& name : protections_of(runs.front())) {
    const std::filesystem::path whole = arm_directory(output, name);
    if (holds_run(whole) && !replace) continue;
    std::vector<std::filesystem::path> parts;
    for (const std::filesystem::path& run : runs) {
      parts.push_back(arm_directory(run, name));
      if (holds_run(parts.back())) continue;
      throw Error(ExitCode::kInput, run.string() + ": was not run with the protection '" + name +
                                        "' yet; go on with: bitfall resume " +
                                        shell_word(run.string()));
    }
    merge_shards(parts, whole, replace);
  }
}

}  // namespace bitfall
