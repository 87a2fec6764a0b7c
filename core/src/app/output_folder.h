// Where a run directory is to be made.
#pragma once

#include <filesystem>

namespace bitfall {

/// The path itself, or the nearest folder above it that exists.
std::filesystem::path nearest_existing(const std::filesystem::path& path);

/// Throws Error(kFailure) before a profile of an hour, not after it, where the run's folder could
/// not be made.
void prove_can_be_made(const std::filesystem::path& directory);

}  // namespace bitfall
