// A rate from a sample of which some parts were drawn more often than others, and how many more
// trials each part should get.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "statistics.h"

namespace bitfall {

/// A part of a population that is drawn from by itself.
struct SampledStratum {
  double weight = 0;  // its share in the rate; at least 0
  std::int64_t trials = 0, events = 0;
  std::size_t alike = 0;  // strata of one number are thought to have rates of one kind
};

/// The mean of events / trials by weight over strata with trials, unbiased whatever the trials. Of
/// those where both events and trials without are five or more the interval is Wilson's each,
/// joined as in weighted_sum. The rest are rare events, or rarely none: sums of few are taken as
/// weighted Poisson counts (Fay and Feuer, Statistics in Medicine 16, 1997) over all such strata
/// together, so that a hundred strata without an event are as one without.
WeightedSum stratified_rate(std::span<const SampledStratum> strata, double confidence);

/// The same beside the counts of strata with a weight, of which the rate is not the quotient.
Proportion stratified_proportion(std::span<const SampledStratum> strata, double confidence);

/// Half of the interval's width.
double half_width(const WeightedSum& rate);

struct SamplingGoal {
  double halfwidth = 0.01;
  double confidence = 0.99;
  std::int64_t maximum = 0;  // trials in all, the pilot's too
};

/// Trials of a stratum of which a pilot can tell anything.
inline constexpr std::int64_t kLeastPilot = 4;

/// Trials that each stratum gets in a pilot which is to tell rates roughly: the more, the narrower
/// the goal.
std::int64_t pilot_trials(const SamplingGoal& goal, double strata);

/// How many more trials each stratum gets, beyond those of the pilot and those that came since, so
/// that the half-width of stratified_rate() over the latter comes to the goal. In proportion to
/// weight x standard deviation (Neyman, 1934) as the pilot has it, with the rate of a stratum drawn
/// towards that of those alike the more these are alike, and at least in proportion to the weight,
/// which bounds what strata without an event leave open; in proportion to the weight alone where
/// that would take hardly more. The first round takes half of that, later ones what is missing, in
/// the same proportions. The pilot decides who is drawn how often and so must not be counted:
/// strata that showed an event by chance would be drawn again and put right, those that by chance
/// showed none would not. Empty where the goal is met, or the maximum reached.
std::vector<std::int64_t> next_round(std::span<const SampledStratum> pilot,
                                     std::span<const SampledStratum> since,
                                     const SamplingGoal& goal);

/// Trials of the whole population, each fault as likely as any other, whose interval (Wilson's) has
/// this half-width at this rate.
double simple_trials(double rate, double halfwidth, double confidence);

}  // namespace bitfall
