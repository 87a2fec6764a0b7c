#include "temporary_folder.h"

#include <cstdlib>
#include <string>
#include <system_error>

#include "error.h"

namespace bitfall {

namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder() {
  std::error_code none;
  const fs::path place = fs::temp_directory_path(none);
  if (none) {
    const char* named = std::getenv("TMPDIR");
    throw Error(ExitCode::kFailure, std::string(named ? named : "/tmp") +
                                        ": no folder for temporary files (" + none.message() +
                                        "); set TMPDIR to one");
  }
  std::string name = (place / "bitfall-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    throw Error(ExitCode::kFailure, name + ": cannot be made; set TMPDIR to a folder that can");
  }
  path_ = fs::canonical(name);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace bitfall
