// The numbers that a fault may put in an element's place, by their names in options.
#pragma once

#include <limits>
#include <string_view>

#include "bitfall/error_model.h"

namespace bitfall {

/// "zero", "largest", "negative_largest", "nan", "inf" or "negative_inf" at this site.
inline float special_value(std::string_view name, const SiteView& site) {
  if (name == "zero") return 0;
  if (name == "largest") return site.largest;
  if (name == "negative_largest") return -site.largest;
  if (name == "inf") return std::numeric_limits<float>::infinity();
  if (name == "negative_inf") return -std::numeric_limits<float>::infinity();
  return std::numeric_limits<float>::quiet_NaN();
}

}  // namespace bitfall
