// What a process may no longer do: limits that the kernel keeps, for code that is not trusted. Each
// is asked of the kernel; what it cannot do is told, and not pretended.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace bitfall {

/// From here on this thread, those that it starts and their processes change files only below these
/// folders (Landlock). Returns what is in force: "Landlock ABI 7", or why it is not.
std::string allow_writing_only_below(const std::vector<std::filesystem::path>& folders);

/// The same for reading, and nothing is written any more but to open files. Paths that do not exist
/// are left out.
std::string allow_reading_only(const std::vector<std::filesystem::path>& paths);

/// From here on the whole process opens no sockets, starts no programs and looks into no other
/// process (seccomp); what tries is told that it is not permitted. Returns what is in force.
std::string forbid_sockets_and_programs();

/// From here on the process may take `more` bytes of memory of its own beyond what it has: what
/// asks for more is told that there is none. A limit that is lower already stays.
void limit_memory(std::int64_t more);

/// The same while it lives; nothing: no limit.
class MemoryLimit {
 public:
  explicit MemoryLimit(std::optional<std::int64_t> more);
  ~MemoryLimit();
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  std::uint64_t before_;
};

/// From here on the process writes no core file.
void forbid_core_files();

/// Bytes that the system and the process's control group could still give; nothing where neither
/// tells.
std::optional<std::int64_t> free_memory();
/// Of that, what code of others may take: nine tenths.
std::optional<std::int64_t> memory_for_plugins();

}  // namespace bitfall
