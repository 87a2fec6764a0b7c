#include "output_folder.h"

#include <unistd.h>

#include <string>

#include "error.h"

namespace bitfall {

std::filesystem::path nearest_existing(const std::filesystem::path& path) {
  std::error_code ignored;
  auto there = std::filesystem::absolute(path).lexically_normal();
  while (there.has_relative_path() && !std::filesystem::exists(there, ignored)) {
    there = there.parent_path();
  }
  return there;
}

void prove_can_be_made(const std::filesystem::path& directory) {
  std::error_code ignored;
  const std::filesystem::path there = nearest_existing(directory);
  const bool folder = std::filesystem::is_directory(there, ignored);
  if (folder && ::access(there.c_str(), W_OK | X_OK) == 0) return;
  throw Error(ExitCode::kFailure, directory.string() +
                                      ": cannot be made or written to: " + there.string() +
                                      (folder ? " may not be written to" : " is not a folder") +
                                      "; give another with -o or [campaign] output");
}

}  // namespace bitfall
