#include "statistics.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/special_functions/beta.hpp>
#include <boost/math/special_functions/erf.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <cassert>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"

namespace bitfall {
namespace {

// Fewer events, or fewer non-events, than this make Wilson's coverage drop under the nominal one.
constexpr std::int64_t kFewEvents = 5;
// The share of the population above which sampling without replacement is worth correcting for.
constexpr double kFiniteShare = 0.05;

void check_confidence(double confidence) {
  if (!(confidence > 0 && confidence < 1)) {
    throw Error(ExitCode::kUsage, "confidence is " + std::to_string(confidence) +
                                      "; it must lie between 0 and 1, such as 0.99");
  }
}

void check_rate(double p) {
  if (!(p > 0 && p < 1)) {
    throw Error(ExitCode::kUsage, "the expected rate is " + std::to_string(p) +
                                      "; it must lie between 0 and 1, such as 0.5");
  }
}

Interval wilson_of(double p, double size, double confidence) {
  const double z = normal_quantile(confidence);
  const double z2 = z * z;
  const double centre = p + z2 / (2 * size);
  const double spread = z * std::sqrt(p * (1 - p) / size + z2 / (4 * size * size));
  const double scale = 1 + z2 / size;
  // At p = 0 and p = 1 an end is exactly 0 or 1; rounding would leave 1e-19 there.
  return {p == 0 ? 0.0 : std::max(0.0, (centre - spread) / scale),
          p == 1 ? 1.0 : std::min(1.0, (centre + spread) / scale)};
}

Interval clopper_pearson_of(double events, double others, double confidence) {
  const double tail = (1 - confidence) / 2;
  Interval interval;
  if (events > 0) interval.low = boost::math::ibeta_inv(events, others + 1, tail);
  if (others > 0) interval.high = boost::math::ibetac_inv(events + 1, others, tail);
  return interval;
}

}  // namespace

double normal_quantile(double confidence) {
  check_confidence(confidence);
  return std::sqrt(2.0) * boost::math::erf_inv(confidence);
}

double student_quantile(double confidence, double degrees) {
  check_confidence(confidence);
  const boost::math::students_t_distribution<> student(degrees);
  return boost::math::quantile(boost::math::complement(student, (1 - confidence) / 2));
}

Interval wilson(std::int64_t k, std::int64_t n, double confidence, double population) {
  assert(k >= 0 && k <= n);
  check_confidence(confidence);
  if (n <= 0) return {0, 1};
  double size = static_cast<double>(n);
  const double p = static_cast<double>(k) / size;
  if (population > 0 && size > kFiniteShare * population) {
    if (size >= population) return {p, p};  // everything was looked at
    size *= (population - 1) / (population - size);
  }
  return wilson_of(p, size, confidence);
}

Interval clopper_pearson(std::int64_t k, std::int64_t n, double confidence) {
  assert(k >= 0 && k <= n);
  check_confidence(confidence);
  if (n <= 0) return {0, 1};
  return clopper_pearson_of(static_cast<double>(k), static_cast<double>(n - k), confidence);
}

Proportion proportion(std::int64_t k, std::int64_t n, double confidence, double population) {
  Proportion result;
  result.events = k;
  result.trials = n;
  result.rate = n > 0 ? static_cast<double>(k) / static_cast<double>(n) : kNan;
  result.wilson = wilson(k, n, confidence, population);
  result.clopper_pearson = clopper_pearson(k, n, confidence);
  const bool few = k < kFewEvents || n - k < kFewEvents;
  result.headline = few ? result.clopper_pearson : result.wilson;
  result.method = few ? "clopper-pearson" : "wilson";
  return result;
}

void ClusterCount::close(Sums& sums, double events, double size) {
  sums.events_squared += events * events;
  sums.events_size += events * size;
  sums.size_squared += size * size;
}

void ClusterCount::add(std::int64_t cluster, bool event) {
  if (cluster != current_ || clusters_ == 0) {
    close(sums_, current_events_, current_size_);
    current_ = cluster;
    current_events_ = current_size_ = 0;
    ++clusters_;
  }
  current_events_ += event ? 1 : 0;
  current_size_ += 1;
  events_ += event ? 1 : 0;
  ++trials_;
}

Proportion ClusterCount::proportion(double confidence) const {
  Proportion result = bitfall::proportion(events_, trials_, confidence);
  if (clusters_ == trials_) return result;
  Sums sums = sums_;
  close(sums, current_events_, current_size_);
  const double n = static_cast<double>(trials_), clusters = static_cast<double>(clusters_);
  const double p = result.rate;
  const double spread = sums.events_squared - 2 * p * sums.events_size + p * p * sums.size_squared;
  const double variance = clusters > 1 ? clusters / (clusters - 1) * spread / (n * n) : 1;
  const double size = variance > 0 ? std::clamp(p * (1 - p) / variance, 1.0, n) : clusters;
  result.wilson = wilson_of(p, size, confidence);
  result.clopper_pearson = clopper_pearson_of(p * size, (1 - p) * size, confidence);
  const bool few = p * size < kFewEvents || (1 - p) * size < kFewEvents;
  result.headline = few ? result.clopper_pearson : result.wilson;
  result.method = few ? "clopper-pearson, by fault" : "wilson, by fault";
  return result;
}

double mcnemar_exact(std::int64_t only_first, std::int64_t only_second) {
  assert(only_first >= 0 && only_second >= 0);
  const auto less = static_cast<double>(std::min(only_first, only_second));
  const auto more = static_cast<double>(std::max(only_first, only_second));
  // P(X <= less) of n = less + more fair coins, as an incomplete beta function.
  return less == more ? 1 : std::min(1.0, 2 * boost::math::ibeta(more, less + 1, 0.5));
}

std::int64_t sample_size(double margin, double confidence, double p, double population) {
  check_rate(p);
  if (!(margin > 0 && margin < 1)) {
    throw Error(ExitCode::kUsage, "the margin is " + std::to_string(margin) +
                                      "; it must lie between 0 and 1, such as 0.01");
  }
  const double t = normal_quantile(confidence);
  const double variance = t * t * p * (1 - p);
  const double squared = margin * margin;
  const double n = population > 0 ? population / (1 + squared * (population - 1) / variance)
                                  : variance / squared;
  constexpr auto kLargest = std::numeric_limits<std::int64_t>::max();
  if (n >= static_cast<double>(kLargest)) return kLargest;
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(n)));
}

double half_width(std::int64_t n, double confidence, double p, double population) {
  check_rate(p);
  const double t = normal_quantile(confidence);
  if (n <= 0) return std::numeric_limits<double>::infinity();
  const double size = static_cast<double>(n);
  if (population > 0 && size >= population) return 0;
  const double correction = population > 0 ? (population - size) / (population - 1) : 1;
  return t * std::sqrt(p * (1 - p) / size * correction);
}

WeightedSum weighted_sum(std::span<const WeightedTerm> terms) {
  if (terms.empty()) {
    return {kNan, {kNan, kNan}};
  }
  double sum = 0, below = 0, above = 0;
  for (const WeightedTerm& term : terms) {
    sum += term.weight * term.value;
    below += std::pow(term.weight * (term.value - term.interval.low), 2);
    above += std::pow(term.weight * (term.interval.high - term.value), 2);
  }
  return {sum, {sum - std::sqrt(below), sum + std::sqrt(above)}};
}

WeightedSum weighted_rate(std::span<const WeightedRate> parts, double confidence) {
  constexpr double kFewEffective = 100, kRare = 0.1;
  check_confidence(confidence);
  std::vector<WeightedTerm> terms;
  double sum = 0, weights = 0, variance = 0, largest = 0;  // the last: of a single event
  bool by_fault = false;
  for (const auto& [weight, rate] : parts) {
    terms.push_back({weight, rate.rate, rate.headline});
    if (rate.trials == 0) continue;
    weights += weight;
    const double each = weight / static_cast<double>(rate.trials);
    sum += each * static_cast<double>(rate.events);
    variance += each * each * static_cast<double>(rate.events);
    largest = std::max(largest, each);
    const std::string_view method = rate.method;
    by_fault |= method.ends_with("by fault") || method == "stratified";
  }
  WeightedSum result = weighted_sum(terms);
  const bool rare = sum <= kRare * weights && sum * sum < kFewEffective * variance;
  if (by_fault || terms.size() < 2 || largest == 0 || !(rare || sum == 0)) return result;
  // Of a gamma variable with this mean and variance.
  const auto quantile = [](double mean, double spread, double p) {
    return spread / mean * boost::math::gamma_p_inv(mean * mean / spread, p);
  };
  const double tail = (1 - confidence) / 2;
  result.interval.low = sum > 0 ? quantile(sum, variance, tail) : 0;
  const double high = quantile(sum + largest, variance + largest * largest, 1 - tail);
  result.interval.high = std::min(high, weights);
  return result;
}

}  // namespace bitfall
