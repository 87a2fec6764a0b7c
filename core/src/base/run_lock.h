// Keeps a second process from writing the same run.
#pragma once

#include <filesystem>

namespace bitfall {

/// Holds <directory>/lock for as long as it lives. The kernel lets go of it when the process dies,
/// however it dies.
class RunLock {
 public:
  /// Throws Error(kFailure) naming the process that holds it, or if the file cannot be made, and
  /// Error(kUsage) where the name belongs to another file, as a link does.
  explicit RunLock(const std::filesystem::path& directory);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int file_;
};

/// True where files are shared between machines (NFS, Lustre, SMB ...), so that memory mapped
/// beside them is not.
bool on_network(const std::filesystem::path& path);

}  // namespace bitfall
