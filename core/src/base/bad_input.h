// How input is refused.
#pragma once

#include <filesystem>
#include <string>

#include "error.h"

namespace bitfall {

/// Throws Error(kInput).
[[noreturn]] inline void fail(const std::string& what) { throw Error(ExitCode::kInput, what); }

/// Throws Error(kInput): "PATH: what is wrong".
[[noreturn]] inline void fail(const std::filesystem::path& path, const std::string& what) {
  fail(path.string() + ": " + what);
}

}  // namespace bitfall
