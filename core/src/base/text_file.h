#pragma once

#include <filesystem>
#include <string>

namespace bitfall {

/// The whole file as text. Throws Error(kInput) if it cannot be read, is no regular file (a pipe
/// would be waited for, a device read for ever), or has more than 1 GiB.
std::string read_text(const std::filesystem::path& file);

/// Throws Error(kInput) where a pipe, a device or a socket has the name: a pipe would be waited
/// for, a device read for ever. What does not exist, and folders, are for others to tell.
void require_regular(const std::filesystem::path& file);

}  // namespace bitfall
