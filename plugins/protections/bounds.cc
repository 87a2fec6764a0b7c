#include "bounds.h"

#include <algorithm>
#include <cmath>

namespace bitfall_plugins {

using bitfall::ProtectedSite;
using bitfall::View;

Units::Units(const ProtectedSite& site, Scope scope) : scope_(scope) {
  const std::int64_t size = bitfall::element_count(site.shape);
  if (scope == Scope::kNeuron) count_ = std::max<std::int64_t>(size, 1);
  if (scope != Scope::kChannel) return;
  if (site.channel_axis < 0) {
    scope_ = Scope::kLayer;
    return;
  }
  const auto axis = static_cast<std::size_t>(site.channel_axis);
  count_ = std::max<std::int64_t>(site.shape[axis], 1);
  inner_ = bitfall::element_count(site.shape.subspan(axis + 1));
}

std::int64_t Bounds::scratch_size(const ProtectedSite& site) const {
  return Units(site, scope_).count() * stride();
}

std::int64_t Bounds::state_size(const ProtectedSite& site) const {
  return 2 * Units(site, scope_).count();
}

void Bounds::learn(const ProtectedSite& site, int pass, View<const float> values,
                   View<double> scratch) const {
  const Units units(site, scope_);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double value = values[i];
    if (std::isnan(value)) continue;
    const auto unit = static_cast<std::size_t>(units.of(static_cast<std::int64_t>(i)));
    double* const own = scratch.data() + unit * static_cast<std::size_t>(stride());
    double &minimum = own[kMinimum], &maximum = own[kMaximum];
    if (std::isinf(value)) {  // a mask, say; no bin is wide enough
      if (pass == 0) ++own[value < 0 ? kLowest : kHighest];
      continue;
    }
    if (pass == 0) {
      minimum = own[kFinite] == 0 ? value : std::min(minimum, value);
      maximum = own[kFinite] == 0 ? value : std::max(maximum, value);
      ++own[kFinite];
      continue;
    }
    const double width = maximum - minimum;
    const double place = width > 0 ? (value - minimum) / width * kBins : 0;
    ++own[kFirstBin + std::clamp<std::int64_t>(static_cast<std::int64_t>(place), 0, kBins - 1)];
  }
}

void Bounds::finish(const ProtectedSite& site, View<const double> scratch,
                    View<float> state) const {
  const auto count = static_cast<std::size_t>(Units(site, scope_).count());
  for (std::size_t unit = 0; unit < count; ++unit) {
    const double* const own = scratch.data() + unit * static_cast<std::size_t>(stride());
    const double all = own[kFinite] + own[kLowest] + own[kHighest];
    const double outside = percentile_ < 100 ? all * (100 - percentile_) / 100 : 0;
    double low = own[kMinimum], high = own[kMaximum];
    if (percentile_ < 100) {
      const double* const bins = own + kFirstBin;
      const double bin = (own[kMaximum] - own[kMinimum]) / kBins;
      double below = own[kLowest], above = own[kHighest];
      std::int64_t first = 0, last = kBins - 1;
      while (first < last && below + bins[first] <= outside) below += bins[first++];
      while (last > first && above + bins[last] <= outside) above += bins[last--];
      low = own[kMinimum] + static_cast<double>(first) * bin;
      if (last < kBins - 1) high = own[kMinimum] + static_cast<double>(last + 1) * bin;
    }
    if (own[kLowest] > outside) low = -INFINITY;
    if (own[kHighest] > outside) high = INFINITY;
    if (own[kFinite] == 0 && all > 0) {  // as many as there are lie at the ends
      if (own[kHighest] == 0) high = -INFINITY;
      if (own[kLowest] == 0) low = INFINITY;
    }
    // The bounds are no tighter than what was learned, however they round.
    state[2 * unit] = static_cast<float>(low);
    if (state[2 * unit] > low) state[2 * unit] = std::nextafter(state[2 * unit], -INFINITY);
    state[2 * unit + 1] = static_cast<float>(high);
    if (state[2 * unit + 1] < high) {
      state[2 * unit + 1] = std::nextafter(state[2 * unit + 1], INFINITY);
    }
  }
}

void BoundGuard::finish(const ProtectedSite& site, View<const double> scratch,
                        View<float> state) const {
  bounds_.finish(site, scratch, state);
  for (std::size_t i = 0; i + 1 < state.size(); i += 2) {  // never towards what was learned
    if (state[i] < 0 && std::isfinite(state[i])) state[i] = static_cast<float>(state[i] * margin_);
    if (state[i + 1] > 0 && std::isfinite(state[i + 1])) {
      state[i + 1] = static_cast<float>(state[i + 1] * margin_);
    }
  }
}

bitfall::ProtectionCost BoundGuard::cost(const ProtectedSite& site) const {
  return {2.0 * static_cast<double>(bitfall::element_count(site.shape)), 32 * state_size(site)};
}

}  // namespace bitfall_plugins
