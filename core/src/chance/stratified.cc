#include "stratified.h"

#include <algorithm>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

namespace bitfall {
namespace {

constexpr std::int64_t kFew = 5;  // events, or trials without

/// A sum of counts with weights, taken as Poisson's.
class RareEvents {
 public:
  void add(double weight, std::int64_t trials, std::int64_t events) {
    const double each = weight / static_cast<double>(trials);
    sum_ += each * static_cast<double>(events);
    variance_ += each * each * static_cast<double>(events);
    largest_ = std::max(largest_, each);
    weights_ += weight;
  }

  WeightedTerm term(double confidence) const {
    if (largest_ == 0) return {1, 0, {0, 0}};
    // Of a gamma variable with this mean and variance.
    const auto quantile = [](double mean, double spread, double p) {
      return spread / mean * boost::math::gamma_p_inv(mean * mean / spread, p);
    };
    const double tail = (1 - confidence) / 2;
    const double low = sum_ > 0 ? quantile(sum_, variance_, tail) : 0;
    const double high = quantile(sum_ + largest_, variance_ + largest_ * largest_, 1 - tail);
    return {1, sum_, {low, std::min(high, weights_)}};
  }

 private:
  double sum_ = 0, variance_ = 0, largest_ = 0, weights_ = 0;
};

/// What is known of strata that are alike.
class Alike {
 public:
  void add(const SampledStratum& stratum) {
    const auto trials = static_cast<double>(stratum.trials);
    const auto events = static_cast<double>(stratum.events);
    if (trials == 0) return;
    weight_ += stratum.weight;
    weighted_ += stratum.weight * events / trials;
    trials_ += trials;
    squared_ += trials * trials;
    events_ += events;
    ratio_ += events * events / trials;
    ++strata_;
  }

  /// Their mean rate.
  double rate() const {
    constexpr double kUnseen = 0.15;  // events, where there were none: their interval sees to more
    const double least = kUnseen / (trials_ + 1);
    return weight_ > 0 ? std::clamp(weighted_ / weight_, least, 1 - least) : 0.5;
  }

  /// Trials of a stratum's own that the mean is worth: many where rates differ no more than chance
  /// has them differ, few where they do (DerSimonian and Laird, Controlled Clinical Trials 7,
  /// 1986).
  double worth() const {
    constexpr double kFewest = 3, kMost = 60;
    if (strata_ < 2) return kFewest;
    const double mean = events_ / trials_, spread = mean * (1 - mean);
    if (spread <= 0) return kMost;
    const double found = (ratio_ - events_ * mean) / spread;  // chi-squared
    const double between = (found - (strata_ - 1)) * spread / (trials_ - squared_ / trials_);
    return between <= 0 ? kMost : std::clamp(spread / between - 1, kFewest, kMost);
  }

 private:
  double weight_ = 0, weighted_ = 0, trials_ = 0, squared_ = 0, events_ = 0, ratio_ = 0,
         strata_ = 0;
};

/// Rates as far as strata and those alike tell, none of which is 0 or 1.
std::vector<double> rough_rates(std::span<const SampledStratum> strata) {
  std::map<std::size_t, Alike> pools;
  for (const SampledStratum& stratum : strata) pools[stratum.alike].add(stratum);
  std::vector<double> found;
  for (const SampledStratum& stratum : strata) {
    const Alike& alike = pools[stratum.alike];
    const double worth = alike.worth();
    found.push_back((static_cast<double>(stratum.events) + worth * alike.rate()) /
                    (static_cast<double>(stratum.trials) + worth));
  }
  return found;
}

/// Trials of each stratum that come to the goal if rates are as the pilot has them.
std::vector<double> wanted_trials(std::span<const SampledStratum> pilot, const SamplingGoal& goal) {
  const std::vector<double> rates = rough_rates(pilot);
  std::vector<double> deviation;
  double spread = 0, rate = 0;
  for (std::size_t i = 0; i < pilot.size(); ++i) {
    deviation.push_back(std::sqrt(rates[i] * (1 - rates[i])));
    spread += pilot[i].weight * deviation[i];
    rate += pilot[i].weight * rates[i];
  }
  const double z = normal_quantile(goal.confidence);
  const double open = -std::log((1 - goal.confidence) / 2);  // events that none seen leaves open
  std::vector<double> best;
  double fewest = std::numeric_limits<double>::infinity();
  // Strata without events widen the interval on one side alone: with B of theirs and A of the rest
  // it is half of A + sqrt(A^2 + B^2) wide, which is the goal h where A = h - B^2 / (4 h).
  for (int step = 1; step < 40; ++step) {
    const double share = step / 20.0;  // B / h
    const double floor = open / (share * goal.halfwidth);
    const double rest = goal.halfwidth * (1 - share * share / 4);
    const double scale = spread * z * z / (rest * rest);
    std::vector<double> trials;
    for (std::size_t i = 0; i < pilot.size(); ++i) {
      trials.push_back(pilot[i].weight * std::max(floor, scale * deviation[i]));
    }
    const double all = std::accumulate(trials.begin(), trials.end(), 0.0);
    if (all >= fewest) continue;
    fewest = all;
    best = std::move(trials);
  }
  // A pilot is too rough for a small gain: where rates are all low, those that showed an event are
  // hardly others than those that did not.
  constexpr double kWorthIt = 1.8;
  const double alike = simple_trials(rate, goal.halfwidth, goal.confidence);
  if (fewest * kWorthIt > alike) {
    for (std::size_t i = 0; i < pilot.size(); ++i) best[i] = pilot[i].weight * alike;
  }
  return best;
}

std::int64_t count_trials(std::span<const SampledStratum> strata) {
  std::int64_t trials = 0;
  for (const SampledStratum& stratum : strata) trials += stratum.trials;
  return trials;
}

}  // namespace

WeightedSum stratified_rate(std::span<const SampledStratum> strata, double confidence) {
  std::vector<WeightedTerm> terms;
  RareEvents few, rarely_none;
  double known = 0;
  for (const SampledStratum& stratum : strata) {
    if (stratum.trials > 0 && stratum.weight > 0) known += stratum.weight;
  }
  if (known == 0) return weighted_sum({});
  for (const SampledStratum& stratum : strata) {
    const std::int64_t n = stratum.trials, none = n - stratum.events;
    if (n == 0 || stratum.weight <= 0) continue;
    const double weight = stratum.weight / known;
    if (stratum.events >= kFew && none >= kFew) {
      const Interval each = wilson(stratum.events, n, confidence);
      terms.push_back({weight, static_cast<double>(stratum.events) / static_cast<double>(n), each});
    } else if (stratum.events <= none) {
      few.add(weight, n, stratum.events);
    } else {
      rarely_none.add(weight, n, none);
      terms.push_back({weight, 1, {1, 1}});
    }
  }
  terms.push_back(few.term(confidence));
  const WeightedTerm none = rarely_none.term(confidence);  // is taken off
  terms.push_back({1, -none.value, {-none.interval.high, -none.interval.low}});
  return weighted_sum(terms);
}

Proportion stratified_proportion(std::span<const SampledStratum> strata, double confidence) {
  Proportion result;
  for (const SampledStratum& stratum : strata) {
    if (stratum.weight <= 0) continue;
    result.trials += stratum.trials;
    result.events += stratum.events;
  }
  const WeightedSum mean = stratified_rate(strata, confidence);
  result.rate = mean.value;
  result.wilson = result.clopper_pearson = result.headline =
      result.trials == 0 ? Interval{} : mean.interval;
  result.method = "stratified";
  return result;
}

double half_width(const WeightedSum& rate) { return (rate.interval.high - rate.interval.low) / 2; }

std::int64_t pilot_trials(const SamplingGoal& goal, double strata) {
  constexpr double kRate = 0.02, kShare = 0.025;  // of the trials that such a rate asks for
  const double all = kShare * simple_trials(kRate, goal.halfwidth, goal.confidence);
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(all / std::max(strata, 1.0)),
                                  kLeastPilot, 32);
}

std::vector<std::int64_t> next_round(std::span<const SampledStratum> pilot,
                                     std::span<const SampledStratum> since,
                                     const SamplingGoal& goal) {
  constexpr double kMore = 1.01, kLeastMore = 1.03;
  constexpr double kFirst = 0.5;  // of what the pilot asks for: it is rough, and none is taken back
  const std::int64_t before = count_trials(since),
                     room = goal.maximum - before - count_trials(pilot);
  if (room <= 0) return {};
  const std::vector<double> wanted = wanted_trials(pilot, goal);
  double factor = kFirst;
  if (before > 0) {
    const double open = half_width(stratified_rate(since, goal.confidence)) / goal.halfwidth;
    if (open <= 1) return {};
    const double all = std::accumulate(wanted.begin(), wanted.end(), 0.0);
    factor = static_cast<double>(before) / all * std::max(kLeastMore, kMore * open * open);
  }
  std::vector<std::int64_t> round;
  double sum = 0;
  for (std::size_t i = 0; i < since.size(); ++i) {
    constexpr std::int64_t kLeast = 2;  // so that a mean of it has an interval
    const double most = static_cast<double>(before) + static_cast<double>(room);
    const auto all =
        since[i].weight <= 0
            ? 0
            : std::max(kLeast,
                       static_cast<std::int64_t>(std::ceil(std::min(factor * wanted[i], most))));
    round.push_back(std::max<std::int64_t>(0, all - since[i].trials));
    sum += static_cast<double>(round.back());
  }
  if (sum > static_cast<double>(room)) {
    for (std::int64_t& more : round) {
      const auto part = static_cast<double>(more) * static_cast<double>(room) / sum;
      more = before == 0 && more > 0 ? std::max<std::int64_t>(2, static_cast<std::int64_t>(part))
                                     : static_cast<std::int64_t>(part);
    }
  }
  const bool none = std::all_of(round.begin(), round.end(), [](auto more) { return more == 0; });
  return none ? std::vector<std::int64_t>() : round;
}

double simple_trials(double rate, double halfwidth, double confidence) {
  // Wilson's half-width is z / (1 + z^2 / n) sqrt(p (1 - p) / n + z^2 / (4 n^2)): falls with n.
  const double z = normal_quantile(confidence), z2 = z * z;
  const auto width = [&](double n) {
    return z / (1 + z2 / n) * std::sqrt(rate * (1 - rate) / n + z2 / (4 * n * n));
  };
  double low = 1, high = 2;
  while (width(high) > halfwidth && high < 1e18) high *= 2;
  for (int i = 0; i < 200 && high - low > 0.5; ++i) {
    const double middle = (low + high) / 2;
    (width(middle) > halfwidth ? low : high) = middle;
  }
  return std::ceil(high);
}

}  // namespace bitfall
