#include "split_lists.h"

#include <system_error>

#include "bad_input.h"

namespace bitfall {

namespace fs = std::filesystem;

std::optional<SplitLists> find_split_lists(const fs::path& folder, const std::string& split) {
  std::error_code ignored;
  const fs::path meta = folder / "meta";
  const bool listed =
      fs::exists(meta / "train.txt", ignored) || fs::exists(meta / "test.txt", ignored);
  if (!listed || !fs::is_directory(folder / "images", ignored)) return std::nullopt;
  SplitLists found{"Food-101", folder / "images", meta / (split + ".txt"), meta / "classes.txt"};
  for (const fs::path& file : {found.list, found.classes}) {
    if (!fs::is_regular_file(file, ignored)) {
      fail(file, "is missing, and the folder holds the rest of Food-101; unpack it again");
    }
  }
  return found;
}

}  // namespace bitfall
