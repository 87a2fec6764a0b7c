// What the host does for a component. Reached by Options::host() while a component is made; it
// outlives every component.
#pragma once

#include <cstdint>

#include "bitfall/view.h"

namespace bitfall {

class NumberFormat;

/// The values are part of the plugin ABI.
enum class LogLevel : std::uint8_t {
  kMessage = 0,  // left out with --quiet
  kWarning = 1,
};

/// An option of another component, its value as in OptionSpec::default_value: {"bits", "12"}.
struct Setting {
  Text name;
  Text value;
};

class Host {
 public:
  /// Shows one line to the user, with the component's name in front. Of equal lines of one
  /// component the first is shown. From any thread.
  virtual void log(LogLevel level, Text message) const = 0;

  /// During create only: another format, to stand on; options that are not set have their defaults.
  /// The caller deletes it. Throws std::invalid_argument where there is none, or a setting is
  /// wrong. The run then depends on that format's plugin, too.
  virtual NumberFormat* make_format(Text id, View<const Setting> settings) const = 0;

  /// For abilities that a later host may have: null where it does not know `name`.
  virtual const void* extension(const char* name) const = 0;

 protected:
  ~Host() = default;
};

}  // namespace bitfall
