// `bitfall plugin check`: tries all components of a plugin, each check in a child process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "check_child.h"

namespace bitfall {

struct CheckRequest {
  std::filesystem::path file;
  std::string only;                  // a regular expression in "format/nf4 slices"; empty = all
  std::vector<std::string> options;  // "key=value", for components that declare the key
  std::vector<std::filesystem::path> plugins;  // loaded before it: what its components stand on
  std::uint64_t seed = 1;
  std::size_t classes = 0;  // of every answer that metrics are given; 0 = 1 to 1000
  ChildLimits limits = {};
};

struct CheckResult {
  std::string subject;  // "format/nf4"; "file" of the file as a whole
  std::string check;    // "slices"
  CheckVerdict verdict;
  std::string detail;  // what was found; mostly empty if it passed
  double seconds;
};

struct CheckReport {
  std::filesystem::path file;
  std::string sha256;
  std::uint64_t seed = 1;
  std::vector<CheckResult> results;
  /// How many did not pass.
  std::size_t failures() const;
};

/// Runs them one after another; `tell` is called after each. Nothing of the file is loaded into
/// this process. Throws Error(kUsage) where `only` is no regular expression or matches no check, or
/// an option fits no component; Error(kInput) where the file cannot be read.
CheckReport check_plugin(const CheckRequest& request,
                         const std::function<void(const CheckResult&)>& tell);

/// A line: "format/nf4         slices          pass".
std::string check_line(const CheckResult& result);
/// "31 checks, 1 of them failed"
std::string check_summary(const CheckReport& report);
/// {"schema":"bitfall.plugin_check/1","file":...,"sha256":...,"seed":...,"checks":[...],...}
std::string check_json(const CheckReport& report);
/// All checks there are, by kind, with what each looks at.
std::string check_list();

}  // namespace bitfall
