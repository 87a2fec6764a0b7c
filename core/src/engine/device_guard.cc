#include "device_guard.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "bitfall/extensions/guard_ranges.h"
#include "device_rounding.h"
#include "log.h"

namespace bitfall {

DeviceGuard::DeviceGuard(at::Tensor low, at::Tensor high, bool zero)
    : low_(std::move(low)),
      high_(std::move(high)),
      no_bound_(low_.isnan().logical_or(high_.isnan())),
      zero_(zero) {}

std::optional<DeviceGuard> DeviceGuard::make(const ProtectedFormat& format,
                                             std::span<const std::uint32_t> metadata,
                                             const std::string& device) {
  const GuardRanges* ranges = format.ranges();
  const ProtectedSite& site = format.site();
  if (!ranges || element_count(site.shape) == 0) return std::nullopt;
  const std::vector<float> state = format.state_in(metadata);
  const GuardUnits units = guard_units(site, static_cast<std::int64_t>(state.size()));
  if (units.count == 0) return std::nullopt;
  constexpr float kMost = std::numeric_limits<float>::max();
  std::vector<float> low, high;
  for (std::size_t unit = 0; unit < static_cast<std::size_t>(units.count); ++unit) {
    low.push_back(state.empty() ? -kMost : state[2 * unit]);
    high.push_back(state.empty() ? kMost : state[2 * unit + 1]);
  }
  const auto on_device = [&](const std::vector<float>& bounds) {
    return at::tensor(bounds).view({units.count, 1}).to(c10::Device(device));
  };
  DeviceGuard guard(on_device(low), on_device(high), ranges->zero);
  guard.inner_ = units.inner;
  if (guard.equals(format, state)) return guard;
  log_warning("a protection of site '" + std::string(site.name) +
              "' does not guard as its GuardRanges say; its values go through the host");
  return std::nullopt;
}

/// Compared at the bounds, one place beside them, and with numbers of any bits.
bool DeviceGuard::equals(const ProtectedFormat& format, std::span<const float> state) const {
  const ProtectedSite& site = format.site();
  const std::int64_t size = element_count(site.shape);
  const at::Tensor lows = low_.cpu(), highs = high_.cpu();
  const float* low = lows.const_data_ptr<float>();
  const float* high = highs.const_data_ptr<float>();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  std::mt19937 random(1);
  const std::int64_t images = std::clamp<std::int64_t>((std::int64_t{1} << 18) / size, 2, 24);
  std::vector<float> values;
  for (std::int64_t i = 0; i < images * size; ++i) {
    const std::int64_t unit = i % size / inner_ % low_.size(0);
    const std::array tried = {low[unit],
                              high[unit],
                              std::nextafter(low[unit], -kInfinity),
                              std::nextafter(low[unit], kInfinity),
                              std::nextafter(high[unit], kInfinity),
                              std::nextafter(high[unit], -kInfinity),
                              kNone,
                              -kNone,
                              kInfinity,
                              -kInfinity,
                              0.0F,
                              -0.0F,
                              std::bit_cast<float>(static_cast<std::uint32_t>(random()))};
    values.push_back(tried[random() % tried.size()]);
  }
  std::vector<std::int64_t> shape(site.shape.begin(), site.shape.end());
  shape.insert(shape.begin(), images);
  const at::Tensor before = at::tensor(values).view(shape);
  const at::Tensor mine = (*this)(before.to(low_.device())).cpu().contiguous();
  for (std::int64_t image = 0; image < images; ++image) {
    format.protection().guard(site,
                              std::span(values).subspan(static_cast<std::size_t>(image * size),
                                                        static_cast<std::size_t>(size)),
                              {site.shape, 0, 1, static_cast<std::uint64_t>(image)}, state);
  }
  return same_numbers(mine, at::tensor(values).view(shape));
}

at::Tensor DeviceGuard::operator()(const at::Tensor& images) const {
  const at::Tensor values = images.reshape({images.size(0), -1, low_.size(0), inner_});
  const at::Tensor within = values.ge(low_).logical_and(values.le(high_)).logical_or(no_bound_);
  if (zero_) return at::where(within, values, at::Scalar(0.0F)).reshape(images.sizes());
  const at::Tensor bounds = at::where(values.lt(low_), low_, high_);
  const at::Tensor others = at::where(values.isnan(), at::Scalar(0.0F), bounds);
  return at::where(within, values, others).reshape(images.sizes());
}

}  // namespace bitfall
