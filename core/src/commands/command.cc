#include "command.h"

#include <CLI/CLI.hpp>

#include "numbers.h"

namespace bitfall {

CLI::Validator number_between(double low, double high) {
  const std::string range = short_text(low) + " to " + short_text(high);
  return {[=](const std::string& text) {
            const auto number = parse_number(text);
            const bool within = number && *number >= low && *number <= high;  // NaN is not
            return within ? std::string() : text + " is no number from " + range;
          },
          "NUMBER from " + range};
}

}  // namespace bitfall
