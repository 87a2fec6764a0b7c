// Keeps a second process from writing the same run.
#pragma once

#include <filesystem>

namespace bitfall {

/// Holds <directory>/lock for as long as it lives. The kernel lets go of it when the process dies,
/// however it dies.
class RunLock {
 public:
  /// Throws Error(kInterrupted) naming the process and the machine that hold it: the same command
  /// may do later. Error(kFailure) if the file cannot be made, Error(kUsage) where the name belongs
  /// to another file, as a link does.
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
