// Puts tensors through a number format where they lie, without a copy to the host: the format's
// rounding as a table that LibTorch searches. Made by asking the format itself, so that it fits any
// plugin.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "bitfall/number_format.h"

namespace bitfall {

class DeviceRounding {
 public:
  /// Nothing where a table cannot tell what the format does: its payload has more than 16 bits, an
  /// element's code depends on its place (blocks, scales by channel, random rounding), or larger
  /// numbers do not give larger ones. `metadata`: calibrated registers of a tensor of this shape.
  static std::optional<DeviceRounding> make(const NumberFormat& format,
                                            std::span<const std::int64_t> shape,
                                            std::span<const std::uint32_t> metadata);

  /// decode(encode(value)) of a float32 tensor on any device, in its layout. Bit for bit what the
  /// format gives, but that all NaN of one sign come out alike.
  at::Tensor operator()(const at::Tensor& value) const;

 private:
  DeviceRounding(std::vector<std::int32_t> thresholds, std::vector<float> results);

  /// results_[i] belongs to the floats whose ordered bits lie from thresholds_[i - 1] on, and below
  /// thresholds_[i].
  at::Tensor thresholds_, results_;
  mutable at::Tensor device_thresholds_, device_results_;  // where they were last needed
};

}  // namespace bitfall
