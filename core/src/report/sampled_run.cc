#include "sampled_run.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "bit_parts.h"
#include "error.h"
#include "numbers.h"
#include "report_number.h"

namespace bitfall {

std::vector<double> stratum_weights(const RunDescription& run, bool over_layers) {
  double all = 0;
  std::map<std::int32_t, double> by_site;
  for (const Stratum& stratum : run.strata) {
    all += stratum.population;
    if (stratum.population > 0) by_site[stratum.site] += stratum.population;
  }
  std::vector<double> weights;
  for (const Stratum& stratum : run.strata) {
    if (stratum.population <= 0) {
      weights.push_back(0);
    } else if (over_layers) {
      weights.push_back(stratum.population / by_site[stratum.site] /
                        static_cast<double>(by_site.size()));
    } else {
      weights.push_back(stratum.population / all);
    }
  }
  return weights;
}

std::int64_t pilot_size(const RunDescription& run) {
  std::int64_t pilot = run.trials;
  if (!run.facts.sampling) return 0;
  for (const auto& round : run.facts.sampling->rounds) {
    for (std::size_t i = 0; i < std::min(round.size(), run.strata.size()); ++i) {
      if (run.strata[i].population > 0) pilot -= round[i];
    }
  }
  return std::max<std::int64_t>(pilot, 0);
}

SamplingGoal goal_of(const SamplingFact& sampling) {
  return {sampling.halfwidth, sampling.confidence, sampling.maximum};
}

SampledRun count_strata(const Store& store, const RunDescription& run) {
  const SamplingFact& sampling = *run.facts.sampling;
  const auto column =
      std::find_if(run.metric_columns.begin(), run.metric_columns.end(),
                   [&](const StoredColumn& stored) { return stored.name == sampling.of; });
  if (column == run.metric_columns.end()) {
    throw Error(ExitCode::kInput, store.directory().string() + ": is damaged: its goal is of '" +
                                      sampling.of + "', which it has no column of");
  }
  const auto event = static_cast<std::size_t>(column - run.metric_columns.begin());
  const std::vector<double> weights = stratum_weights(run, sampling.over_layers);
  SampledRun counts;
  std::map<std::pair<std::int32_t, std::int32_t>, std::size_t> places;
  for (std::size_t i = 0; i < run.strata.size(); ++i) {
    // Those of one part of the bits are thought to have rates of one kind.
    counts.pilot.push_back({weights[i], 0, 0, static_cast<std::size_t>(run.strata[i].entry)});
    places[{run.strata[i].entry, run.strata[i].site}] = i;
  }
  counts.since = counts.pilot;
  const std::int64_t pilot = pilot_size(run);
  store.for_each_trial([&](const TrialResult& trial) {
    const auto place = places.find({trial.entry, trial.site});
    if (place == places.end()) return;
    SampledStratum& stratum = (trial.trial < pilot ? counts.pilot : counts.since)[place->second];
    ++stratum.trials;
    stratum.events += !is_due(trial.outcome) && trial.metrics[event] == 1;
  });
  return counts;
}

SamplingSummary summarise_sampling(const SampledRun& counts, const RunDescription& run) {
  SamplingSummary summary;
  summary.goal = *run.facts.sampling;
  summary.pilot = pilot_size(run);
  for (std::size_t i = 0; i < counts.since.size(); ++i) {
    summary.pilot_alone |= counts.since[i].weight > 0 && counts.since[i].trials == 0;
    summary.trials += counts.pilot[i].trials + counts.since[i].trials;
  }
  const auto& parts = summary.goal.parts;
  for (std::size_t i = 0; i < counts.since.size(); ++i) {
    const auto entry = static_cast<std::size_t>(run.strata[i].entry);
    summary.strata.push_back(
        {run.strata[i].entry, run.sites[static_cast<std::size_t>(run.strata[i].site)].name,
         entry < parts.size() ? to_string(parts[entry]) : "", counts.pilot[i].trials,
         summary.pilot_alone ? counts.pilot[i] : counts.since[i]});
  }
  summary.rate =
      stratified_rate(summary.pilot_alone ? counts.pilot : counts.since, summary.goal.confidence);
  const double half = half_width(summary.rate);
  summary.met = !summary.pilot_alone && half <= summary.goal.halfwidth;
  if (half > 0 && half < 0.5) {
    summary.simple = simple_trials(summary.rate.value, half, summary.goal.confidence);
  }
  return summary;
}

std::string sampling_text(const SamplingSummary& sampling) {
  const auto points = [](double share) { return quantity(100 * share) + " points"; };
  const Interval& interval = sampling.rate.interval;
  std::string text =
      sampling.goal.of + " over " + (sampling.goal.over_layers ? "layers" : "bits") + " is " +
      quantity(100 * sampling.rate.value) + " % [" + quantity(100 * interval.low) + ", " +
      quantity(100 * interval.high) + "] at " + exact_text(100 * sampling.goal.confidence) +
      " % confidence, +-" + points(half_width(sampling.rate)) + " where +-" +
      points(sampling.goal.halfwidth) + " are wanted: " + std::to_string(sampling.trials) +
      " trials, " + std::to_string(sampling.pilot) + " of them a pilot that " +
      (sampling.pilot_alone ? "alone counts as yet" : "is not counted");
  if (sampling.simple > 0 && sampling.trials > 0 && !sampling.pilot_alone) {
    text += ". Drawn alike, " + quantity(sampling.simple) + " trials would tell as much (" +
            quantity(sampling.simple / static_cast<double>(sampling.trials)) + " times as many)";
  }
  return text + ".";
}

}  // namespace bitfall
