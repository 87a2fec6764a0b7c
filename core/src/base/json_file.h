// JSON files that a user names, with errors that say where.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace bitfall {

/// The document as text, a line where `indent` is -1. Names of files and classes may be any bytes:
/// what is no UTF-8 of them becomes U+FFFD.
template <typename Json>
std::string json_text(const Json& document, int indent = 2) {
  return document.dump(indent, ' ', false, Json::error_handler_t::replace);
}

/// How deep brackets may lie in documents of strangers: copying and writing them needs a call a
/// level, and objects copy as they grow.
inline constexpr int kDeepestJson = 64;

/// The document in a file; objects keep their order. Throws Error(kInput): the file cannot be read,
/// "PATH:LINE:COLUMN: what is wrong" where it is not JSON, or "PATH: ..." where an object names a
/// key twice or brackets lie more than 64 deep.
nlohmann::ordered_json read_json(const std::filesystem::path& path);

/// The same of text that stands in the file `path`.
nlohmann::ordered_json parse_json(const std::filesystem::path& path, std::string_view text);

}  // namespace bitfall
