// The table of `bitfall sites`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bitfall/number_format.h"
#include "sites.h"

namespace bitfall {

/// Name, kind, operation, shape per image, values, bits in the format.
std::string sites_text(const std::vector<Site>& sites, const NumberFormat& format);
/// What part of a network lies in sites that can be hit.
struct SiteCoverage {
  std::int64_t operations = 0, covered_operations = 0;  // multiply-accumulates of one image
  std::int64_t parameters = 0, covered_parameters = 0;
  struct Missed {
    std::string module, function;
    std::int64_t operations = 0;
  };
  std::vector<Missed> missed;  // the largest first
  std::string missed_text;
};

/// Two lines: "sites cover 98.5 % of 3.1 M multiplications and 100 % of 11.2 M parameters", and
/// what they do not.
std::string coverage_text(const SiteCoverage& coverage);
/// {"schema": "bitfall.sites/1", ...}. `unfit`: why no campaign runs on the network; empty = they do.
std::string sites_json(const std::vector<Site>& sites, const NumberFormat& format,
                       const SiteCoverage& coverage = {}, const std::string& unfit = "");

}  // namespace bitfall
