// A folder as one archive (tar, compressed by zstd), and back. What is read may come from anybody.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace bitfall {

/// What an archive may hold at most.
struct ArchiveLimits {
  std::int64_t files = 2000;
  std::int64_t bytes = 256 << 20;  // of all files together, unpacked
};

/// Why a pack may not hold a file of this name, as "an absolute name: '/a'"; empty where it may.
std::string problem_of_name(const std::string& name);

/// Writes the files, named from `folder`, in this order: equal files give equal bytes. Throws
/// Error(kFailure) where that cannot be.
void write_archive(const std::filesystem::path& archive, const std::filesystem::path& folder,
                   const std::vector<std::string>& files);

/// Unpacks into an empty folder of the caller's own and returns the files' names, sorted. Refuses,
/// by Error(kInput) that names the entry, whatever is no plain file within the folder: absolute
/// names, "..", links, devices, a name twice, more than the limits.
std::vector<std::string> unpack_archive(const std::filesystem::path& archive,
                                        const std::filesystem::path& folder,
                                        const ArchiveLimits& limits = {});

}  // namespace bitfall
