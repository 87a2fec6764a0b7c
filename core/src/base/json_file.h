// JSON files that a user names, with errors that say where.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
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

/// A real number. JSON has none for NaN, which is null, as trials without an answer have it, nor for
/// infinities, which are the texts "Infinity" and "-Infinity", as Protocol Buffers' JSON has them.
inline nlohmann::json json_real(double value) {
  if (!std::isinf(value)) return value;  // the library writes null for NaN
  return value > 0 ? "Infinity" : "-Infinity";
}

/// A whole number of a document of strangers. The library's own get() makes one of 2.5, too, and of
/// 1e300 what the processor likes. Throws Json::type_error: it is none, or lies beyond 64 bits.
template <typename Json>
std::int64_t whole_number(const Json& value) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
  if (value.is_number_integer() &&
      (!value.is_number_unsigned() || value.template get<std::uint64_t>() <= kMost)) {
    return value.template get<std::int64_t>();
  }
  throw Json::type_error::create(
      302, "a whole number is needed in place of " + json_text(value, -1), &value);
}

/// What the program stored as text itself, such as a list in a database, and others may have
/// changed. Throws Json::exception: no JSON, or a number that no integer of 64 bits can become.
nlohmann::json stored_json(std::string_view text);

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
