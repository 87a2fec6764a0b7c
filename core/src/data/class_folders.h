// A data folder with one folder per class: which classes and images it holds, before anything is
// decoded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "class_list.h"

namespace bitfall {

struct ImageListing {
  ClassList classes;
  /// [class][file]: paths relative to the root with '/'.
  std::vector<std::vector<std::string>> files;
  bool numbered = false;             // nothing names the classes: their names are their numbers
  std::vector<std::string> skipped;  // what is left out, with reasons
};

/// How many files have each extension: "3 .gif, 1 without extension".
class ExtensionCounts {
 public:
  void add(const std::string& file);
  void add(const ExtensionCounts& other);
  std::int64_t total() const;
  std::string text() const;

 private:
  std::map<std::string, std::int64_t> counts_;
};

/// Whether files of this name are taken for images: .jpg, .jpeg, .png, .bmp, .ppm, .pgm, .tif,
/// .tiff, .webp as by torchvision's ImageFolder, and .jfif, .jpe, .pbm, .pnm, in any case.
bool has_image_name(std::string_view file);

/// Whether a file that has no such name is an image all the same, by its extension (.gif) or its
/// content.
bool is_other_image(const std::filesystem::path& file);

struct FolderEntry {
  std::string name;
  bool is_folder;
};
/// Names in `folder` in byte-wise order, links followed. Throws Error(kInput).
std::vector<FolderEntry> entries_of(const std::filesystem::path& folder);
/// Whether it begins with a dot.
bool is_hidden(std::string_view name);

/// The folders of `root` that may be classes, in byte-wise order; none is hidden. Counts what else
/// lies there. Throws Error(kInput) where a name is not text.
std::vector<std::string> class_folder_names(const std::filesystem::path& root,
                                            ExtensionCounts& beside, std::int64_t& hidden);

/// Classes are those of `class_list` in its order or, when it is empty, the folders of `root` in
/// byte-wise order. Images are the files with an image's name, at any depth, links followed, hidden
/// ones left out, in byte-wise order. Throws Error(kInput): no images; a folder that the list does
/// not name; unless `skip`, a class that would lose images since they are of another kind, told by
/// extension. What else is left out is told by extension, too.
ImageListing list_class_folders(const std::filesystem::path& root,
                                const std::filesystem::path& class_list, bool skip);

/// Images that would be left out since they are of kinds that are not read, or not named so.
class Losses {
 public:
  /// which: "class 'dog'". Nothing where nothing is lost.
  void add(const std::string& which, const ExtensionCounts& lost, std::size_t kept);
  /// Says so, by extension, if there are any: a warning with `skip`, else Error(kInput).
  void tell(const std::filesystem::path& root, bool skip) const;

 private:
  ExtensionCounts all_;
  std::vector<std::string> places_;
};

}  // namespace bitfall
