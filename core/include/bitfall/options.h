// Options of a plugin component: declared as data, checked by the host before anything runs.
#pragma once

#include <cstdint>

#include "bitfall/host.h"
#include "bitfall/view.h"

namespace bitfall {

/// The values are part of the plugin ABI.
enum class OptionType : std::uint8_t {
  kFlag = 0,      // TOML boolean
  kInteger = 1,   // TOML integer
  kNumber = 2,    // TOML float or integer
  kText = 3,      // TOML string, optionally one of `choices`
  kIntegers = 4,  // TOML array of integers
  kNumbers = 5,   // TOML array of floats or integers
  kTexts = 6,     // TOML array of strings, each optionally one of `choices`
  kFile = 7,      // TOML string: a file that exists, by its path from the campaign file's folder;
                  // a run goes on only with the same bytes in it
};

/// One declared option. All strings are static storage owned by the plugin.
struct OptionSpec {
  const char* name;  // the TOML key, snake_case
  OptionType type;
  const char*
      default_value;    // in TOML syntax, text without quotes: "1", "0.5", "true", "any",
                        // "[0, 3]", "['a', 'b']"; of a file only "", for none; null = required
  double minimum;       // inclusive; for kInteger, kNumber and each item of a list of them
  double maximum;       // inclusive
  const char* choices;  // for kText, kTexts: allowed words separated by '|'; null = any text
  const char* help;     // one sentence with units
  const char* example = nullptr;  // a value in the syntax of default_value, for required options:
                                  // shown to people and tried by `bitfall plugin check`
};

/// The checked values that the host passes to a component's `create`. Every declared option has a
/// value of its declared type within its range, given or default. Asking for an undeclared name or
/// with the wrong type throws std::logic_error. Valid only during `create`: copy what is needed
/// (texts and lists point into the host).
class Options {
 public:
  virtual bool flag(Text name) const = 0;
  virtual std::int64_t integer(Text name) const = 0;
  virtual double number(Text name) const = 0;
  virtual Text text(Text name) const = 0;
  virtual View<const std::int64_t> integers(Text name) const = 0;
  virtual View<const double> numbers(Text name) const = 0;
  virtual View<const Text> texts(Text name) const = 0;
  virtual Text file(Text name) const = 0;  // its absolute path; empty where none was given

  virtual const Host& host() const = 0;

 protected:
  ~Options() = default;
};

}  // namespace bitfall
