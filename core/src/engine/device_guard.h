// Guards values where they lie: what a protection says of itself
// (bitfall/extensions/guard_ranges.h), as operations of LibTorch.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "protected_format.h"

namespace bitfall {

class DeviceGuard {
 public:
  /// Nothing where the protection says nothing, or guards otherwise than it says: it was compared
  /// with that. `metadata`: the site's, in which the bounds stand.
  static std::optional<DeviceGuard> make(const ProtectedFormat& format,
                                         std::span<const std::uint32_t> metadata,
                                         const std::string& device = "cpu");

  /// Each image of a float32 tensor [images, ...] on the device, guarded, in its shape. Bit for bit
  /// what the protection gives.
  at::Tensor operator()(const at::Tensor& images) const;

 private:
  DeviceGuard(at::Tensor low, at::Tensor high, bool zero);
  bool equals(const ProtectedFormat& format, std::span<const float> state) const;

  at::Tensor low_, high_;   // [units, 1]
  at::Tensor no_bound_;     // where one of them is NaN
  std::int64_t inner_ = 1;  // an element's unit is element / inner % units
  bool zero_;
};

}  // namespace bitfall
