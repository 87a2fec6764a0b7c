// What a file or a command line asks of plugins: a component and its options, as given. They are
// checked by the plugin host against the plugin's own declaration.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "diagnostics.h"

namespace bitfall {

/// The alternatives are in the order of OptionType, kFile left out: of a file the path is a text.
using OptionValue = std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>,
                                 std::vector<double>, std::vector<std::string>>;

/// A plugin's option as given in the file.
struct GivenOption {
  std::string name;
  OptionValue value;
  SourceRange name_where;
  SourceRange value_where;
};

/// `{ id = "bit_flip", bits = 1 }`: a component's id and every other key beside it.
struct PluginChoice {
  std::string id;
  SourceRange where;  // of the id's value; line 0 when defaulted
  std::vector<GivenOption> options;
  std::filesystem::path folder;  // that files among the options are named from; empty = the current
};

}  // namespace bitfall
