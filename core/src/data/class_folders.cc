#include "class_folders.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "bad_input.h"
#include "log.h"
#include "text_file.h"
#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

fs::path at_line(const fs::path& path, std::size_t index) {
  return path.string() + ":" + std::to_string(index + 1);
}

bool is_hidden(const std::string& name) { return name.front() == '.'; }

bool has_image_extension(const std::string& name) {
  std::string extension = fs::path(name).extension().string();
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

struct FolderEntry {
  std::string name;
  bool is_folder;
};

/// Names in `folder` in byte-wise order, links followed.
std::vector<FolderEntry> entries_of(const fs::path& folder) {
  std::vector<FolderEntry> entries;
  std::error_code status;
  fs::directory_iterator iterator(folder, status);
  for (; !status && iterator != fs::directory_iterator(); iterator.increment(status)) {
    std::error_code ignored;  // a link that leads nowhere is no folder
    entries.push_back({iterator->path().filename().string(), iterator->is_directory(ignored)});
  }
  if (status) fail(folder, "the folder cannot be read: " + status.message());
  std::sort(entries.begin(), entries.end(),
            [](const FolderEntry& a, const FolderEntry& b) { return a.name < b.name; });
  return entries;
}

/// Finds the images of one class.
class ClassWalk {
 public:
  ClassWalk(const fs::path& root, std::int64_t& ignored) : root_(root), ignored_(ignored) {
    enter(root_);
  }

  /// Paths relative to the root with '/', in byte-wise order.
  std::vector<std::string> files_of(const std::string& class_name) {
    walk(class_name);
    std::sort(files_.begin(), files_.end());
    return std::move(files_);
  }

 private:
  /// False if the walk has been there: a link that leads back must not go round for ever.
  bool enter(const fs::path& folder) {
    std::error_code status;
    const fs::path real = fs::canonical(folder, status);
    if (status) fail(folder, "the folder cannot be read: " + status.message());
    return entered_.insert(real).second;
  }

  void walk(const std::string& folder) {
    if (!enter(root_ / folder)) {
      log_warning((root_ / folder).string() + ": leads to a folder already listed; skipped");
      return;
    }
    for (const FolderEntry& entry : entries_of(root_ / folder)) {
      const std::string name = folder + "/" + entry.name;
      if (is_hidden(entry.name) || !(entry.is_folder || has_image_extension(entry.name))) {
        ++ignored_;
      } else if (entry.is_folder) {
        walk(name);
      } else {
        files_.push_back(name);
      }
    }
  }

  fs::path root_;
  std::int64_t& ignored_;
  std::set<fs::path> entered_;
  std::vector<std::string> files_;
};

std::vector<std::string> class_folders(const fs::path& root, std::int64_t& ignored) {
  std::vector<std::string> folders;
  for (const FolderEntry& entry : entries_of(root)) {
    if (!entry.is_folder || is_hidden(entry.name)) {
      ++ignored;
      continue;
    }
    if (!is_presentable(entry.name)) {
      fail(root, "the folder name '" + escaped_bytes(entry.name) +
                     "' is not plain UTF-8 text; rename it");
    }
    folders.push_back(entry.name);
  }
  if (folders.empty()) {
    fail(root, "holds no class folders; put the images of each class into a folder of its name");
  }
  return folders;
}

void check_listed(const fs::path& root, const std::vector<std::string>& folders,
                  const std::vector<std::string>& classes, const fs::path& list) {
  const std::set<std::string_view> known(classes.begin(), classes.end());
  for (const std::string& folder : folders) {
    if (known.contains(folder)) continue;
    const std::string near = did_you_mean(folder, classes);
    fail(root / folder,
         "the folder is not a class of " + list.string() + (near.empty() ? "" : "; " + near));
  }
}

}  // namespace

std::vector<std::string> read_name_lines(const fs::path& path) {
  std::string text = read_text(path);
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.emplace_back(trimmed(std::string_view(text).substr(begin, end - begin)));
    begin = end + 1;
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  if (lines.empty()) fail(path, "the class list is empty; it needs one name per line");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty()) fail(at_line(path, i), "empty line in the class list");
    if (!is_presentable(lines[i])) fail(at_line(path, i), "the class name is not plain UTF-8 text");
  }
  return lines;
}

std::vector<std::string> read_class_list(const fs::path& path) {
  std::vector<std::string> names = read_name_lines(path);
  std::set<std::string> seen;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!seen.insert(names[i]).second) {
      fail(at_line(path, i), "class '" + names[i] + "' is in the list twice");
    }
  }
  return names;
}

ClassFolders list_class_folders(const fs::path& root, const fs::path& class_list) {
  std::int64_t ignored = 0;
  const std::vector<std::string> folders = class_folders(root, ignored);
  ClassFolders listing;
  listing.classes = folders;
  if (!class_list.empty()) {
    listing.classes = read_class_list(class_list);
    check_listed(root, folders, listing.classes, class_list);
  }
  std::size_t images = 0;
  for (const std::string& name : listing.classes) {
    listing.files.emplace_back();
    if (!std::binary_search(folders.begin(), folders.end(), name)) continue;
    listing.files.back() = ClassWalk(root, ignored).files_of(name);
    images += listing.files.back().size();
    if (listing.files.back().empty()) log_warning("class '" + name + "' has no images");
  }
  if (images == 0) fail(root, "holds no images (.jpg, .jpeg or .png) in its class folders");
  if (ignored > 0) {
    log_info(root.string() + ": ignored " + std::to_string(ignored) +
             (ignored == 1 ? " entry" : " entries") +
             " (hidden, or not named .jpg, .jpeg or .png)");
  }
  return listing;
}

}  // namespace bitfall
