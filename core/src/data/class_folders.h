// A data folder with one folder a class: which classes and images it holds, before anything is
// decoded.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

struct ClassFolders {
  std::vector<std::string> classes;
  /// [class][file]: paths relative to the root with '/', in byte-wise order.
  std::vector<std::vector<std::string>> files;
};

/// Classes are those of `class_list` in its order or, when it is empty, the folders of `root` in
/// byte-wise order. Images are the files named .jpg, .jpeg or .png in any case, at any depth, links
/// followed, hidden ones left out. Throws Error(kInput): no images, or a folder that the list does
/// not name.
ClassFolders list_class_folders(const std::filesystem::path& root,
                                const std::filesystem::path& class_list);

/// The names in a text file, one a line, without surrounding blanks; empty lines only at its end.
/// Throws Error(kInput): "PATH:LINE: what is wrong".
std::vector<std::string> read_name_lines(const std::filesystem::path& path);

/// The same, of names that differ: "PATH:LINE: class 'NAME' is in the list twice".
std::vector<std::string> read_class_list(const std::filesystem::path& path);

}  // namespace bitfall
