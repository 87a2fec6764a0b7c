// Writing a file so that a reader, or a crash, never meets half of it.
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

namespace bitfall {

/// Throws Error(kUsage) where something stands at `path` that an output must not take the place of:
/// a folder, a device, a pipe, or a database (of a run).
void prove_replaceable(const std::filesystem::path& path);

/// Calls `write` with a temporary name next to `path`, flushes what it wrote there to the disk and
/// renames it to `path`. Throws what `write` and prove_replaceable() throw, and Error(kFailure)
/// with the path and the reason; `path` is then as it was.
void replace_file(const std::filesystem::path& path,
                  const std::function<void(const std::filesystem::path&)>& write);

/// The same for a text.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

}  // namespace bitfall
