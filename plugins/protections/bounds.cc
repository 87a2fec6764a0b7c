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
    if (!std::isfinite(value)) continue;
    const auto unit = static_cast<std::size_t>(units.of(static_cast<std::int64_t>(i)));
    double* const own = scratch.data() + unit * static_cast<std::size_t>(stride());
    if (pass == 0) {
      own[0] = own[2] == 0 ? value : std::min(own[0], value);
      own[1] = own[2] == 0 ? value : std::max(own[1], value);
      ++own[2];
      continue;
    }
    const double width = own[1] - own[0];
    const double place = width > 0 ? (value - own[0]) / width * kBins : 0;
    ++own[3 + std::clamp<std::int64_t>(static_cast<std::int64_t>(place), 0, kBins - 1)];
  }
}

void Bounds::finish(const ProtectedSite& site, View<const double> scratch,
                    View<float> state) const {
  const auto count = static_cast<std::size_t>(Units(site, scope_).count());
  for (std::size_t unit = 0; unit < count; ++unit) {
    const double* const own = scratch.data() + unit * static_cast<std::size_t>(stride());
    double low = own[0], high = own[1];
    if (percentile_ < 100) {
      const double outside = own[2] * (100 - percentile_) / 100;
      const double bin = (own[1] - own[0]) / kBins;
      double below = 0, above = 0;
      std::int64_t first = 0, last = kBins - 1;
      while (first < last && below + own[3 + first] <= outside) below += own[3 + first++];
      while (last > first && above + own[3 + last] <= outside) above += own[3 + last--];
      low = own[0] + static_cast<double>(first) * bin;
      high = last == kBins - 1 ? own[1] : own[0] + static_cast<double>(last + 1) * bin;
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
    if (state[i] < 0) state[i] = static_cast<float>(state[i] * margin_);
    if (state[i + 1] > 0) state[i + 1] = static_cast<float>(state[i + 1] * margin_);
  }
}

bitfall::ProtectionCost BoundGuard::cost(const ProtectedSite& site) const {
  return {2.0 * static_cast<double>(bitfall::element_count(site.shape)), 32 * state_size(site)};
}

}  // namespace bitfall_plugins
