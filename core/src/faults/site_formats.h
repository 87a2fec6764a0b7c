// Which number format the values of each site are stored in.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "bitfall/number_format.h"

namespace bitfall {

/// Borrows the formats.
class SiteFormats {
 public:
  /// The same everywhere. Not explicit: one format is the usual case.
  SiteFormats(const NumberFormat& format) : common_(&format) {}  // NOLINT(*-explicit-*)
  /// By site.
  explicit SiteFormats(std::vector<const NumberFormat*> by_site) : by_site_(std::move(by_site)) {}

  const NumberFormat& of(std::int32_t site) const {
    return common_ ? *common_ : *by_site_[static_cast<std::size_t>(site)];
  }

 private:
  const NumberFormat* common_ = nullptr;
  std::vector<const NumberFormat*> by_site_;
};

}  // namespace bitfall
