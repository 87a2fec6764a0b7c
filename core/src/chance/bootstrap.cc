#include "bootstrap.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace bitfall {
namespace {

constexpr double kAlike = 1e-3;
constexpr std::size_t kFewUnits = 64;  // too few for a choice to save anything

/// std::lgamma, which also writes the sign into a variable that all threads share.
double log_gamma(double x) {
  int sign = 0;
  return ::lgamma_r(x, &sign);
}

// P(X <= k) for k = 0..n of n draws that are each `p` of 1 likely.
std::vector<double> binomial_sums(std::size_t n, double p) {
  const auto size = static_cast<double>(n);
  std::vector<double> sums(n + 1);
  double sum = 0;
  for (std::size_t i = 0; i <= n; ++i) {
    const auto k = static_cast<double>(i);
    sum += std::exp(log_gamma(size + 1) - log_gamma(k + 1) - log_gamma(size - k + 1) +
                    k * std::log(p) + (size - k) * std::log1p(-p));
    sums[i] = sum;
  }
  return sums;
}

}  // namespace

UnitChoice::UnitChoice(std::span<const double> shares) {
  std::vector<std::size_t> order(shares.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (shares.size() > kFewUnits) {
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return shares[a] < shares[b]; });
    double sum = 0;
    for (const std::size_t unit : order) {
      sum += shares[unit];
      if (!(sum <= kAlike)) break;  // NaN among the shares too
      alike_.push_back(unit);
    }
  }
  apart_.assign(order.begin() + static_cast<std::ptrdiff_t>(alike_.size()), order.end());
  std::sort(apart_.begin(), apart_.end());
  if (!alike_.empty() && !apart_.empty()) {
    at_most_ = binomial_sums(
        shares.size(), static_cast<double>(apart_.size()) / static_cast<double>(shares.size()));
  }
}

std::size_t Bootstrap::number_apart(const UnitChoice& units) {
  if (units.apart_.empty()) return 0;
  const double point = random_.uniform() * units.at_most_.back();
  const auto place = std::upper_bound(units.at_most_.begin(), units.at_most_.end(), point);
  return std::min(static_cast<std::size_t>(place - units.at_most_.begin()),
                  units.at_most_.size() - 1);
}

Interval percentile_interval(std::vector<double> replicates, double confidence) {
  std::erase_if(replicates, [](double value) { return std::isnan(value); });
  if (replicates.empty()) {
    return {kNan, kNan};
  }
  std::sort(replicates.begin(), replicates.end());
  // The replicate below which the tail lies, counted outwards: never narrower than asked for.
  const double last = static_cast<double>(replicates.size() - 1);
  const double tail = (1 - confidence) / 2;
  const auto low = static_cast<std::size_t>(std::floor(tail * last));
  const auto high = static_cast<std::size_t>(std::ceil((1 - tail) * last));
  return {replicates[low], replicates[high]};
}

}  // namespace bitfall
