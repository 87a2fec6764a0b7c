// Bounds learned of values: for each unit (all of a site, a channel, a neuron) the least and the
// largest, or quantiles of them.
#pragma once

#include <cstdint>

#include "bitfall/protection.h"

namespace bitfall_plugins {

enum class Scope { kLayer, kChannel, kNeuron };

/// Which unit a site's element belongs to.
class Units {
 public:
  Units(const bitfall::ProtectedSite& site, Scope scope);
  std::int64_t count() const { return count_; }
  std::int64_t of(std::int64_t element) const {
    return scope_ == Scope::kLayer ? 0 : element / inner_ % count_;
  }

 private:
  Scope scope_;
  std::int64_t count_ = 1;
  std::int64_t inner_ = 1;
};

/// Least and largest of all, or, with a percentile below 100, quantiles found in a second pass by
/// histograms of kBins bins: (100 - percentile) % of the values lie above the upper bound and as
/// many below the lower one, each rounded outwards to the end of a bin.
class Bounds {
 public:
  Bounds(Scope scope, double percentile) : scope_(scope), percentile_(percentile) {}

  int passes() const { return percentile_ < 100 ? 2 : 1; }
  std::int64_t scratch_size(const bitfall::ProtectedSite& site) const;
  void learn(const bitfall::ProtectedSite& site, int pass, bitfall::View<const float> values,
             bitfall::View<double> scratch) const;
  /// Two numbers a unit: lower and upper bound, which are infinite where such values were seen.
  /// 0, 0 where none but NaN was.
  std::int64_t state_size(const bitfall::ProtectedSite& site) const;
  void finish(const bitfall::ProtectedSite& site, bitfall::View<const double> scratch,
              bitfall::View<float> state) const;

 private:
  static constexpr std::int64_t kBins = 512;
  // Of a unit: extremes and count of finite values, how many are -Inf and Inf, bins.
  enum Scratch : std::size_t { kMinimum, kMaximum, kFinite, kLowest, kHighest, kFirstBin };
  std::int64_t stride() const {
    constexpr auto kCounts = static_cast<std::int64_t>(kFirstBin);
    return percentile_ < 100 ? kCounts + kBins : kCounts;
  }

  Scope scope_;
  double percentile_;
};

/// What protections with such bounds share: learning them, a factor on both, what they cost.
class BoundGuard : public bitfall::Protection {
 public:
  BoundGuard(Scope scope, double percentile, double margin)
      : scope_(scope), bounds_(scope, percentile), margin_(margin) {}

  int passes() const override { return bounds_.passes(); }
  std::int64_t scratch_size(const bitfall::ProtectedSite& site) const override {
    return bounds_.scratch_size(site);
  }
  void learn(const bitfall::ProtectedSite& site, int pass, bitfall::View<const float> values,
             bitfall::View<double> scratch) const override {
    bounds_.learn(site, pass, values, scratch);
  }
  std::int64_t state_size(const bitfall::ProtectedSite& site) const override {
    return bounds_.state_size(site);
  }
  void finish(const bitfall::ProtectedSite& site, bitfall::View<const double> scratch,
              bitfall::View<float> state) const override;
  /// Two comparisons a value.
  bitfall::ProtectionCost cost(const bitfall::ProtectedSite& site) const override;

 protected:
  Units units(const bitfall::ProtectedSite& site) const { return {site, scope_}; }

 private:
  Scope scope_;
  Bounds bounds_;
  double margin_;
};

}  // namespace bitfall_plugins
