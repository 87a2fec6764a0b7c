// JSON files that a user names, with errors that say where.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

namespace bitfall {

/// The document in a file; objects keep their order. Throws Error(kInput): the file cannot be read,
/// "PATH:LINE:COLUMN: what is wrong" where it is not JSON, or "PATH: ..." where an object names a
/// key twice.
nlohmann::ordered_json read_json(const std::filesystem::path& path);

}  // namespace bitfall
