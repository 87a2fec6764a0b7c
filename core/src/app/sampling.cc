#include "sampling.h"

#include <algorithm>
#include <numeric>

#include "error.h"
#include "log.h"
#include "sampled_run.h"

namespace bitfall {

bool plan_next_round(Session& session, Store& store) {
  if (!session.facts().sampling) return false;
  const RunDescription run = store.description();
  const SampledRun counts = count_strata(store, run);
  const std::vector<std::int64_t> round =
      next_round(counts.pilot, counts.since, goal_of(*run.facts.sampling));
  const SamplingSummary summary = summarise_sampling(counts, run);
  if (round.empty()) {
    if (!summary.met) {
      log_warning("the goal was not reached with the most trials that it may take (maximum): " +
                  sampling_text(summary));
    }
    return false;
  }
  session.extend_plan(round);
  RunFacts facts = store.facts();
  facts.sampling = session.facts().sampling;
  store.extend(session.plan().strata(), facts);
  const std::int64_t more = std::accumulate(round.begin(), round.end(), std::int64_t{0});
  log_info((summary.pilot_alone ? std::string("the pilot is done") : sampling_text(summary)) +
           "; round " + std::to_string(facts.sampling->rounds.size()) + ": " +
           std::to_string(more) + " more trials");
  return true;
}

void refuse_goal(const std::filesystem::path& file, const std::string& what) {
  throw Error(
      ExitCode::kUsage,
      file.string() +
          ": [[faults]] precision as a table draws each round by the trials before, which " + what +
          " does not have; give per_site, total or a number as precision");
}

void refuse_goals(const Campaign& campaign, const std::string& what) {
  const bool goal = std::any_of(campaign.faults.begin(), campaign.faults.end(),
                                [](const FaultsConfig& entry) { return entry.goal.has_value(); });
  if (goal) refuse_goal(campaign.file, what);
}

}  // namespace bitfall
