// Intervals and sample sizes (Wilson, Clopper and Pearson, Leveugle).
#pragma once

#include <cstdint>
#include <limits>
#include <span>

namespace bitfall {

/// A figure of nothing: the mean of no trials.
inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Interval {
  double low = 0;
  double high = 1;
};

/// Two-sided normal quantile: 2.5758 for 0.99. 0 < confidence < 1.
double normal_quantile(double confidence);
/// The same of Student's t with so many degrees of freedom (1 or more): 63.657 for 0.99 and 1.
double student_quantile(double confidence, double degrees);

/// Wilson score interval of k events in n trials; [0, 1] when n = 0. With a finite population N (>
/// 0) of which n is more than 5 %, n is replaced by n (N - 1) / (N - n).
Interval wilson(std::int64_t k, std::int64_t n, double confidence, double population = 0);

/// Clopper-Pearson ("exact") interval.
Interval clopper_pearson(std::int64_t k, std::int64_t n, double confidence);

/// The headline: Wilson, or Clopper-Pearson when k < 5 or n - k < 5.
struct Proportion {
  std::int64_t events = 0;
  std::int64_t trials = 0;
  double rate = 0;  // NaN when trials = 0
  Interval wilson;
  Interval clopper_pearson;
  Interval headline;
  // "wilson" or "clopper-pearson"; "stratified": of parts with weights, so that the rate is not
  // events / trials; each with ", by fault" if clustered
  const char* method = "";
};
Proportion proportion(std::int64_t k, std::int64_t n, double confidence, double population = 0);

/// Adds up trials of which some share a fault: they are no independent draws, the fault is (one
/// fault that meets many images is one cluster). Trials of a cluster come one after the other.
class ClusterCount {
 public:
  void add(std::int64_t cluster, bool event);

  /// Intervals for n_e = p (1 - p) / V independent trials, V the cluster-robust variance of the
  /// rate (Cochran, Sampling Techniques, 3rd ed., section 9.7: ratio to size); n_e is at least the
  /// number of clusters where V is 0 and at most the number of trials. Without shared faults the
  /// same as proportion().
  Proportion proportion(double confidence) const;

 private:
  struct Sums {
    double events_squared = 0, events_size = 0, size_squared = 0;
  };
  static void close(Sums& sums, double events, double size);

  std::int64_t events_ = 0, trials_ = 0, clusters_ = 0;
  std::int64_t current_ = -1;
  double current_events_ = 0, current_size_ = 0;
  Sums sums_;  // of all clusters but the current one
};

/// One part of a weighted sum: an estimate with its interval.
struct WeightedTerm {
  double weight = 1;
  double value = 0;
  Interval interval;
};
struct WeightedSum {
  double value = 0;
  Interval interval;
};
/// The sum of weight x value over independent estimates, weights at least 0, with the interval that
/// the parts' own leave: value -+ sqrt(sum of (weight x distance to that end)^2). An estimate of no
/// events thus counts with its upper end (Zou and Donner, Statistics in Medicine 27, 2008: MOVER).
/// All NaN for no parts.
WeightedSum weighted_sum(std::span<const WeightedTerm> terms);

/// A part's weight and its rate.
struct WeightedRate {
  double weight = 1;
  Proportion rate;
};
/// The sum of weight x rate over independent samples, weights at least 0. Where events are rare
/// (their weighted mean is at most 10 %) and few carry the sum (fewer than 100 effective ones), its
/// interval is that of a weighted sum of Poisson counts (Fay and Feuer, Statistics in Medicine 16,
/// 1997), at most the sum of weights; else, of one part, and where rates are clustered by fault or
/// stratified, that of weighted_sum, whose lower end is too high where a few parts have an event or
/// two each. All NaN for no parts.
WeightedSum weighted_rate(std::span<const WeightedRate> parts, double confidence);

/// McNemar's exact test of two arms on the same trials: the two-sided probability, under equal
/// rates, of a split of the trials where just one arm has the event at least as uneven as
/// `only_first` : `only_second` (binomial, p = 1/2). 1 when there are no such trials.
double mcnemar_exact(std::int64_t only_first, std::int64_t only_second);

/// n = N / (1 + e^2 (N-1) / (t^2 p (1-p))), rounded up; population <= 0 means infinite (Leveugle et
/// al., DATE 2009).
std::int64_t sample_size(double margin, double confidence, double p, double population);

/// Half-width of the interval that n trials give at rate p: t sqrt(p (1-p) / n * (N-n)/(N-1)).
double half_width(std::int64_t n, double confidence, double p, double population);

}  // namespace bitfall
