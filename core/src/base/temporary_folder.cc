#include "temporary_folder.h"

#include <cstdlib>
#include <string>
#include <system_error>

#include "error.h"

namespace bitfall {

namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "bitfall-XXXXXX").string();
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
