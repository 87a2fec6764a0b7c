// Writing a small file so that a reader, or a crash, never meets half of it.
#pragma once

#include <filesystem>
#include <string_view>

namespace bitfall {

/// Throws Error(kUsage) where something stands at `path` that an output must not take the place of:
/// a folder, a device, a pipe, or a database (of a run).
void prove_replaceable(const std::filesystem::path& path);

/// Writes `text` to a temporary name beside `path`, flushes it to the disk and renames it to
/// `path`. Throws what prove_replaceable() throws, and Error(kFailure) with the path and the
/// reason; `path` is then as it was.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

}  // namespace bitfall
