// Every reader of files as a target of fuzzing: any bytes give a result, or an Error that names the
// file and is short enough to read; nothing else ever.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

struct FuzzTarget {
  const char* name;
  const char* file;  // name of the file that the bytes go into: endings decide what a file is
  void (*read)(const std::filesystem::path& file);
  std::vector<std::string> (*seeds)();  // small ones that are read, or nearly
  /// Words of the format, between blanks: what random bytes would not hit upon.
  const char* words;
};
std::span<const FuzzTarget> fuzz_targets();

/// Writes the bytes to a file in `folder` and reads it. What went wrong, or empty: an exception
/// that is no Error, a message without the file or longer than 16 kB. `read`: whether the input was
/// not refused.
std::string try_input(const FuzzTarget& target, std::string_view bytes,
                      const std::filesystem::path& folder, bool* read = nullptr);

/// Files of tests/fuzz/regressions/<target>: inputs that once went wrong.
std::vector<std::string> regressions(const FuzzTarget& target);
/// Files of <folder>/<target>, as make_corpus.py writes them; none where the folder is not there.
std::vector<std::string> corpus(const FuzzTarget& target, const std::filesystem::path& folder);

}  // namespace bitfall
