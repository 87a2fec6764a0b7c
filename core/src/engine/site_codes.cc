#include "site_codes.h"

namespace bitfall {

SiteCodes::SiteCodes(const EmulatedModel& emulated, std::int32_t site)
    : emulated_(emulated), site_(site) {}

std::span<const std::uint32_t> SiteCodes::of(std::int32_t image, std::span<const float> slab) {
  const Site& place = emulated_.model().sites()[static_cast<std::size_t>(site_)];
  const NumberFormat& format = emulated_.formats().of(site_);
  const auto calibrated = emulated_.metadata(site_);
  metadata_.assign(static_cast<std::size_t>(metadata_size(format, place.shape)), 0);
  if (format.calibrated()) metadata_.assign(calibrated.begin(), calibrated.end());
  codes_.resize(slab.size());
  format.encode(slab, {place.shape, 0, 1, emulated_.stream(site_, image)}, metadata_, codes_);
  return codes_;
}

}  // namespace bitfall
