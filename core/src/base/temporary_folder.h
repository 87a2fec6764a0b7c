// A folder of its own for the life of an object.
#pragma once

#include <filesystem>

namespace bitfall {

/// Below TMPDIR (/tmp), for this user alone; removed with all that it holds at the end. Throws
/// Error(kFailure) where none can be made.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace bitfall
