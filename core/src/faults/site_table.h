// The table of `bitfall sites`.
#pragma once

#include <string>
#include <vector>

#include "bitfall/number_format.h"
#include "sites.h"

namespace bitfall {

/// Name, kind, operation, shape per image, values, bits in the format.
std::string sites_text(const std::vector<Site>& sites, const NumberFormat& format);
/// {"schema": "bitfall.sites/1", ...}
std::string sites_json(const std::vector<Site>& sites, const NumberFormat& format);

}  // namespace bitfall
