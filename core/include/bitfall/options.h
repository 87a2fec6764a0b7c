// Options of a plugin component: declared as data, checked by the host before anything runs.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace bitfall {

/// The values are part of the plugin ABI.
enum class OptionType : std::uint8_t {
  kFlag = 0,      // TOML boolean
  kInteger = 1,   // TOML integer
  kNumber = 2,    // TOML float or integer
  kText = 3,      // TOML string, optionally one of `choices`
  kIntegers = 4,  // TOML array of integers
};

/// One declared option. All strings are static storage owned by the plugin.
struct OptionSpec {
  const char* name;  // the TOML key, snake_case
  OptionType type;
  const char* default_value;  // in TOML syntax without quotes: "1", "0.5", "true", "any", "[0, 3]";
                              // null = required
  double minimum;             // inclusive; for kInteger, kNumber and each item of kIntegers
  double maximum;             // inclusive
  const char* choices;        // for kText: allowed words separated by '|'; null = any text
  const char* help;           // one sentence with units
};

/// The checked values that the host passes to a component's `create`. Every declared option has a
/// value of its declared type within its range, given or default. Asking for an undeclared name or
/// with the wrong type throws std::logic_error. Valid only during `create`: copy what is needed
/// (text and integers point into the host).
class Options {
 public:
  virtual ~Options() = default;
  virtual bool flag(std::string_view name) const = 0;
  virtual std::int64_t integer(std::string_view name) const = 0;
  virtual double number(std::string_view name) const = 0;
  virtual std::string_view text(std::string_view name) const = 0;
  virtual std::span<const std::int64_t> integers(std::string_view name) const = 0;
};

}  // namespace bitfall
