// The places of class names in lists of them, which class_list.h reads.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "class_list.h"

namespace bitfall {

struct NamePlaces {
  std::vector<std::int64_t> places;  // of equal names, ascending; empty = the name is not there
  bool loose = false;                // found only without regard to case, '_', '-' and blanks
};

/// Where each of `wanted` is in `known`: all places of that very name; else, without regard to
/// case, '_', '-' and blanks, those of the one name that is left.
std::vector<NamePlaces> find_names(std::span<const std::string> wanted,
                                   std::span<const std::string> known);

/// All of them, with what is near each: "'tench', 'gold fisch' (near it: 'goldfish')".
std::string missing_names(std::span<const std::string> missing, std::span<const std::string> known);

}  // namespace bitfall
