// The codes of a site's values, as its format stores them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "emulated_model.h"

namespace bitfall {

class SiteCodes {
 public:
  /// Borrows the model, which has its profiles.
  SiteCodes(const EmulatedModel& emulated, std::int32_t site);

  /// Of an image's slab of the site (of a parameter all of it, with image 0); they hold until the
  /// next call.
  std::span<const std::uint32_t> of(std::int32_t image, std::span<const float> slab);

 private:
  const EmulatedModel& emulated_;
  std::int32_t site_;
  std::vector<std::uint32_t> metadata_, codes_;
};

}  // namespace bitfall
