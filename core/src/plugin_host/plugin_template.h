// New plugins as copies of the examples under another name, and how plugins are compiled.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "plugin_host.h"

namespace bitfall {

/// Of the running program.
std::filesystem::path program_path();

/// The options of g++ and clang for a plugin, one a word: what is compiled by
/// `g++ $(bitfall plugin flags) x.cc -o x.so` is what CMake makes by bitfall_add_plugin. Throws
/// Error(kInput) where the headers are not beside the program.
std::vector<std::string> plugin_flags();

struct NewPlugin {
  ComponentKind kind;
  std::string name;              // snake_case: id, file and plugin
  std::string group;             // snake_case, or empty
  std::filesystem::path folder;  // made; must not be there
};

/// "format", "error_model", "error-model", "head", ...: throws Error(kUsage) with the kinds.
ComponentKind kind_of_name(const std::string& name);

/// Writes the example of the kind under the name to the folder. Throws Error(kUsage) where a name
/// is not usable, something stands at the folder, or `host` has such a component already;
/// Error(kInput) without the examples. Returns the commands that build, check and use it, to be run
/// there.
std::string write_new_plugin(const NewPlugin& plugin, const PluginHost& host);

}  // namespace bitfall
