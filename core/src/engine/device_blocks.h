// Puts tensors through a block format where they lie, as device_rounding.h does with formats of
// single elements: each block times a power of two, its elements by a table, and back. Made by
// asking the format itself, so that it fits any plugin.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bitfall/number_format.h"
#include "device_rounding.h"

namespace bitfall {

class DeviceBlocks {
 public:
  /// Nothing where a block is more than a power of two that its largest finite magnitude decides,
  /// and elements that each round by themselves (random rounding, blocks of one element). What is
  /// made was compared with the format on whole slabs. `shape`: of one image's slab.
  static std::optional<DeviceBlocks> make(const NumberFormat& format,
                                          std::span<const std::int64_t> shape,
                                          const std::string& device = "cpu");

  /// decode(encode(image)) of each image of a float32 tensor [images, ...] on the device, in its
  /// shape. Bit for bit what the format gives, but that NaN may have other bits.
  at::Tensor operator()(const at::Tensor& images) const;

 private:
  /// Blocks as dimensions of a slab: [blocks, width, inner]. Where they lie in another way, or some
  /// are shorter, `gather` makes lines of `width` of them, and `scatter` undoes it.
  struct Lines {
    std::int64_t blocks = 0, width = 0, inner = 1;
    at::Tensor gather, scatter;
  };

  DeviceBlocks(DeviceRounding rounding, at::Tensor shrinks, at::Tensor scales, Lines lines);
  static Lines lines_of(const NumberFormat& format, std::span<const std::int64_t> shape,
                        const std::string& device);
  bool equals(const NumberFormat& format, std::span<const std::int64_t> shape,
              const std::string& device) const;

  DeviceRounding rounding_;      // of an element whose block has the scale 1
  at::Tensor shrinks_, scales_;  // by the exponent bits of a block's largest magnitude
  Lines lines_;
};

}  // namespace bitfall
