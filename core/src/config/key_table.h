// Every key of a TOML file as data: what the reader checks and what the tables in READMEs are
// printed from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

enum class KeyType : std::uint8_t {
  kFlag,           // TOML boolean
  kInteger,        // TOML integer
  kNumber,         // TOML float or integer, finite
  kText,           // TOML string, optionally one of `choices`
  kPath,           // TOML string; relative paths are taken from the file's folder
  kPaths,          // a path or an array of paths
  kTexts,          // a string or an array of strings
  kNumbers,        // an array of numbers
  kSize,           // an integer, or [height, width]
  kScale,          // a number, or "1/255"
  kComponent,      // a plugin component: its id, or a table with `id` and the component's options
  kComponents,     // an array of the former
  kTable,          // a table with keys of its own, listed as section "SECTION.KEY"
  kNumberOrTable,  // a number, or such a table
};

/// What a value of this type is called in a message: "an integer", "a string or an array of
/// strings".
const char* to_string(KeyType type);

// Of KeySpec: no bound; whether the bounds themselves are out.
inline constexpr double kUnbounded = std::numeric_limits<double>::infinity();
inline constexpr bool kOpen = true;
inline constexpr bool kClosed = false;

struct KeySpec {
  const char* section;  // "campaign", "data", "data.preprocess"
  const char* name;     // the TOML key
  KeyType type;
  std::optional<std::string> default_value;  // in TOML syntax; "" = unset; nullopt = required
  double minimum;                            // of the number, or of every number of a list
  double maximum;
  bool open;                             // true: minimum and maximum are exclusive
  std::span<const char* const> choices;  // for kText: allowed words, in the order of the enum that
                                         // is read; empty = any text
  const char* help;                      // one sentence with units
};

struct SectionSpec {
  const char* name;  // "campaign"
  bool repeated;     // written [[name]], any number of times
  bool required;
  bool options;  // a component's options stand next to the listed keys
  const char* help;
};

/// The keys of one kind of file, in the order in which it is best written.
struct KeyTable {
  const char* file;  // "a campaign file"
  std::span<const SectionSpec> sections;
  std::span<const KeySpec> keys;

  /// Null if there is none.
  const KeySpec* find(std::string_view section, std::string_view name) const;
  /// How a section is written in messages: [campaign], [data] preprocess, [[faults]].
  std::string title(std::string_view section) const;
  /// The tables of all sections in Markdown, for READMEs.
  std::string markdown() const;
  /// All of it as JSON: {"schema": "bitfall.config/1", "sections": [{"name", "keys": [...]}]}. A
  /// section in a section is named "data.preprocess".
  std::string json() const;
  /// A JSON Schema (draft 7) of the file, for editors of TOML.
  std::string json_schema() const;
};

const KeyTable& campaign_keys();
const KeyTable& training_keys();

/// A value as TOML writes it: defaults are stated by the structures that are read into, and shown
/// by the table.
std::string toml_text(bool value);
std::string toml_text(std::int64_t value);
std::string toml_text(double value);
std::string toml_text(const std::string& value);
std::string toml_text(const std::vector<std::string>& values);
std::string toml_text(const char* value);
/// An enum's value by its name.
template <typename Enum>
std::string toml_choice(std::span<const char* const> names, Enum value) {
  return toml_text(names[static_cast<std::size_t>(value)]);
}

/// "at least 1", "greater than 0 and less than 1"; "" when every number is allowed.
std::string range_text(const KeySpec& key);

}  // namespace bitfall
