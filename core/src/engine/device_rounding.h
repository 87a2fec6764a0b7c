// Puts tensors through a number format where they lie, without a copy to the host: the format's
// rounding as a table that LibTorch searches, or as a cast to one of LibTorch's own types and back
// where that gives the same. Made by asking the format itself, so that it fits any plugin.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bitfall/number_format.h"

namespace bitfall {

/// Whether two float32 tensors have the same bits, but for those of NaN.
bool same_numbers(const at::Tensor& a, const at::Tensor& b);

class DeviceRounding {
 public:
  /// Nothing where a table cannot tell what the format does: its payload has more than 19 bits, an
  /// element's code depends on its place (blocks, scales by channel, random rounding), or larger
  /// numbers do not give larger ones. `metadata`: calibrated registers of a tensor of this shape.
  /// `device`: where it will be used, and is tried.
  static std::optional<DeviceRounding> make(const NumberFormat& format,
                                            std::span<const std::int64_t> shape,
                                            std::span<const std::uint32_t> metadata,
                                            const std::string& device = "cpu");

  /// decode(encode(value)) of a float32 tensor on the device, in its layout. Bit for bit what the
  /// format gives, but that NaN may have other bits.
  at::Tensor operator()(const at::Tensor& value) const;

  /// By a cast, and not by the table.
  bool is_cast() const { return cast_.has_value(); }

 private:
  struct Cast {
    at::ScalarType type;
    std::optional<float> limit;  // magnitudes are cut to it first
  };

  DeviceRounding(const std::vector<std::int32_t>& thresholds, const std::vector<float>& results,
                 const std::string& device);
  at::Tensor by_table(const at::Tensor& value) const;
  bool gives_the_same(const Cast& cast, const std::vector<std::int32_t>& thresholds) const;
  void find_cast(const std::vector<std::int32_t>& thresholds, const std::vector<float>& results);

  /// results_[i] belongs to the floats whose ordered bits lie from thresholds_[i - 1] on, and below
  /// thresholds_[i].
  at::Tensor thresholds_, results_;
  std::optional<Cast> cast_;
};

}  // namespace bitfall
