// A run whose trials were drawn by strata until a goal was met: what they count as, and how far it
// is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store.h"
#include "stratified.h"

namespace bitfall {

/// By stratum: its share in the rate that the goal is of; they add up to 1 where there is any
/// fault.
std::vector<double> stratum_weights(const RunDescription& run, bool over_layers);

/// Trials of the pilot, which are the first.
std::int64_t pilot_size(const RunDescription& run);

SamplingGoal goal_of(const SamplingFact& sampling);

struct SampledRun {
  std::vector<SampledStratum> pilot, since;
};
/// Counts the events that the goal is of, by stratum.
SampledRun count_strata(const Store& store, const RunDescription& run);

/// A stratum in a report.
struct SampledPart {
  std::int32_t entry = 0;  // that its trials have
  std::string site, bits;  // "bits 0-6", or empty
  std::int64_t pilot = 0;  // trials
  SampledStratum counted;
};

/// How far a run is.
struct SamplingSummary {
  SamplingFact goal;
  WeightedSum rate;         // of the trials that count
  std::int64_t trials = 0;  // all, the pilot's too
  std::int64_t pilot = 0;
  bool pilot_alone = false;  // no round is complete: the pilot's trials count
  bool met = false;
  double simple = 0;  // trials that the same half-width takes if every fault is as likely
  std::vector<SampledPart> strata;
};
SamplingSummary summarise_sampling(const SampledRun& counts, const RunDescription& run);

/// "mismatch 2.31 % +-0.10 points [2.21, 2.41] (99 %) over bits, ...".
std::string sampling_text(const SamplingSummary& sampling);

}  // namespace bitfall
