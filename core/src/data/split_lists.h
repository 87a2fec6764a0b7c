// Data sets that come as a folder of images and a list of them per split: Food-101.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace bitfall {

/// What stands for `path`, `list` and `classes` of such a set.
struct SplitLists {
  std::string set;  // "Food-101"
  std::filesystem::path images, list, classes;
};

/// Of Food-101 as its authors publish it: images/CLASS/ID.jpg, meta/train.txt and meta/test.txt
/// with a line CLASS/ID per image, meta/classes.txt. Nothing where the folder holds no such set.
/// split: "train" or "test". Throws Error(kInput) where a part of it is missing.
std::optional<SplitLists> find_split_lists(const std::filesystem::path& folder,
                                           const std::string& split);

}  // namespace bitfall
