// Lists of class names, and the places of names in them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace bitfall {

/// The names in a file, which may occur more than once (ImageNet's do): a JSON array of strings if
/// it is named .json, else a text, a name a line. Throws Error(kInput): "PATH:LINE: what is wrong".
std::vector<std::string> read_class_names(const std::filesystem::path& path);

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
