#pragma once

#include <filesystem>
#include <string>

namespace bitfall {

/// The whole file as text. Throws Error(kInput) if it cannot be read.
std::string read_text(const std::filesystem::path& file);

}  // namespace bitfall
