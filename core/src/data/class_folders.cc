#include "class_folders.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "bad_input.h"
#include "image.h"
#include "log.h"
#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

std::string extension_of(std::string_view file) {
  std::string extension = fs::path(file).extension().string();
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return extension;
}

template <std::size_t size>
bool is_among(const std::array<std::string_view, size>& known, const std::string& extension) {
  return std::find(known.begin(), known.end(), extension) != known.end();
}

/// Finds the images of one class.
class ClassWalk {
 public:
  explicit ClassWalk(const fs::path& root) : root_(root) { enter(root_); }

  void walk(const std::string& folder) {
    if (!enter(root_ / folder)) {
      log_warning((root_ / folder).string() + ": leads to a folder already listed; skipped");
      return;
    }
    for (const FolderEntry& entry : entries_of(root_ / folder)) {
      const std::string name = folder + "/" + entry.name;
      if (is_hidden(entry.name)) {
        ++hidden;
      } else if (entry.is_folder) {
        walk(name);
      } else if (has_image_name(entry.name)) {
        files.push_back(name);
      } else {
        (is_other_image(root_ / name) ? lost : others).add(entry.name);
      }
    }
  }

  std::vector<std::string> files;  // relative to the root with '/'
  ExtensionCounts lost, others;    // images that are not read; what is no image
  std::int64_t hidden = 0;

 private:
  /// False if the walk has been there: a link that leads back must not go round for ever.
  bool enter(const fs::path& folder) {
    std::error_code status;
    const fs::path real = fs::canonical(folder, status);
    if (status) fail(folder, "the folder cannot be read: " + status.message());
    return entered_.insert(real).second;
  }

  fs::path root_;
  std::set<fs::path> entered_;
};

/// Lists a folder of class folders.
class FolderListing {
 public:
  FolderListing(const fs::path& root, const fs::path& class_list, bool skip)
      : root_(root), class_list_(class_list), skip_(skip) {}

  ImageListing read() {
    const std::vector<std::string> folders = class_folder_names(root_, beside_, hidden_);
    if (folders.empty()) {
      fail(
          root_,
          "holds no class folders; put the images of each class into a folder of its name, or name "
          "the images and their labels in a text file: [data] list = \"FILE\"");
    }
    ImageListing listing;
    listing.classes.names = folders;
    if (!class_list_.empty()) listing.classes = read_distinct_classes(class_list_);
    listing.files.resize(listing.classes.names.size());
    const ClassIndex index(listing.classes);
    for (const std::string& folder : folders) {
      const auto label = index.find(folder);
      if (!label) refuse(folder, listing.classes, index);
      take(folder, listing.files[*label]);
    }
    finish(listing);
    return listing;
  }

 private:
  [[noreturn]] void refuse(const std::string& folder, const ClassList& classes,
                           const ClassIndex& index) const {
    if (index.is_shared(folder)) {
      fail(root_ / folder, "several classes of " + class_list_.string() +
                               " have this name; name the folders by the classes' ids, such as '" +
                               classes.ids.front() + "'");
    }
    const std::string near = did_you_mean(folder, classes.names);
    fail(root_ / folder, "the folder is not a class of " + class_list_.string() +
                             (near.empty() ? "" : "; " + near));
  }

  void take(const std::string& folder, std::vector<std::string>& files) {
    ClassWalk walk(root_);
    walk.walk(folder);
    hidden_ += walk.hidden;
    losses_.add("class '" + folder + "'", walk.lost, walk.files.size());
    const bool empty = walk.files.empty() && walk.lost.total() == 0;
    if (empty && walk.others.total() > 0 && !skip_) {
      fail(root_ / folder, "holds no image, but " + walk.others.text() +
                               "; files of images are named " + std::string(kNames) +
                               "; remove the folder, or set [data] on_error = \"skip\"");
    }
    others_.add(walk.others);
    if (empty) log_warning("class '" + folder + "' has no images");
    std::sort(walk.files.begin(), walk.files.end());
    if (!files.empty()) {
      fail(root_ / folder,
           "is the folder of a class that has another folder too: its name, and its id");
    }
    files = std::move(walk.files);
  }

  void finish(const ImageListing& listing) const {
    losses_.tell(root_, skip_);
    const bool none = std::all_of(listing.files.begin(), listing.files.end(),
                                  [](const auto& files) { return files.empty(); });
    if (none) fail(root_, "holds no images (" + std::string(kNames) + ") in its class folders");
    std::vector<std::string> ignored;
    if (hidden_ > 0) ignored.push_back(std::to_string(hidden_) + " hidden");
    if (others_.total() > 0) ignored.push_back(others_.text());
    if (beside_.total() > 0) ignored.push_back(beside_.text() + " beside the class folders");
    const std::int64_t count = hidden_ + others_.total() + beside_.total();
    if (count == 0) return;
    log_info(root_.string() + ": ignored " + std::to_string(count) +
             (count == 1 ? " entry: " : " entries: ") + joined(ignored));
  }

  static constexpr std::string_view kNames = ".jpg, .png, .bmp, .ppm, .tif, .webp ...";

  const fs::path& root_;
  const fs::path& class_list_;
  bool skip_;
  std::int64_t hidden_ = 0;
  ExtensionCounts others_, beside_;
  Losses losses_;
};

}  // namespace

void ExtensionCounts::add(const std::string& file) { ++counts_[extension_of(file)]; }

void ExtensionCounts::add(const ExtensionCounts& other) {
  for (const auto& [extension, count] : other.counts_) counts_[extension] += count;
}

std::int64_t ExtensionCounts::total() const {
  std::int64_t sum = 0;
  for (const auto& [extension, count] : counts_) sum += count;
  return sum;
}

std::string ExtensionCounts::text() const {
  constexpr std::size_t kMost = 8;
  std::vector<std::pair<std::int64_t, std::string>> sorted;
  for (const auto& [extension, count] : counts_) sorted.emplace_back(-count, extension);
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::string> words;
  std::int64_t rest = 0;
  for (const auto& [negative, extension] : sorted) {
    if (words.size() == kMost) {
      rest -= negative;
      continue;
    }
    const std::string shown = is_presentable(extension) ? extension : escaped_bytes(extension);
    words.push_back(std::to_string(-negative) +
                    (extension.empty() ? " without extension" : " " + shown));
  }
  if (rest > 0) words.push_back(std::to_string(rest) + " with others");
  return joined(words);
}

bool has_image_name(std::string_view file) {
  static constexpr std::array<std::string_view, 13> kRead = {
      ".jpg", ".jpeg", ".jpe", ".jfif", ".png",  ".bmp", ".ppm",
      ".pgm", ".pbm",  ".pnm", ".tif",  ".tiff", ".webp"};
  return is_among(kRead, extension_of(file));
}

bool is_other_image(const fs::path& file) {
  static constexpr std::array<std::string_view, 20> kNotRead = {
      ".gif", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jpx", ".jxl", ".ico", ".svg",
      ".psd", ".tga",  ".dib",  ".eps",  ".pcx", ".exr", ".hdr", ".dng", ".cr2", ".nef"};
  return is_among(kNotRead, extension_of(file.filename().string())) || begins_like_image(file);
}

bool is_hidden(std::string_view name) { return name.front() == '.'; }

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

std::vector<std::string> class_folder_names(const fs::path& root, ExtensionCounts& beside,
                                            std::int64_t& hidden) {
  std::vector<std::string> folders;
  for (const FolderEntry& entry : entries_of(root)) {
    if (is_hidden(entry.name)) {
      ++hidden;
    } else if (!entry.is_folder) {
      beside.add(entry.name);
    } else if (!is_presentable(entry.name)) {
      fail(root, "the folder name '" + escaped_bytes(entry.name) +
                     "' is not plain UTF-8 text; rename it");
    } else {
      folders.push_back(entry.name);
    }
  }
  return folders;
}

ImageListing list_class_folders(const fs::path& root, const fs::path& class_list, bool skip) {
  return FolderListing(root, class_list, skip).read();
}

void Losses::add(const std::string& which, const ExtensionCounts& lost, std::size_t kept) {
  if (lost.total() == 0) return;
  all_.add(lost);
  places_.push_back(which + " loses " + lost.text() + ", and keeps " + std::to_string(kept));
}

void Losses::tell(const fs::path& root, bool skip) const {
  constexpr std::size_t kMost = 5;
  if (places_.empty()) return;
  std::string what = "images of kinds that are not read, or not named so: " + all_.text();
  for (std::size_t i = 0; i < std::min(places_.size(), kMost); ++i) what += "\n  " + places_[i];
  if (places_.size() > kMost) {
    what += "\n  and " + std::to_string(places_.size() - kMost) + " more classes";
  }
  if (!skip) {
    fail(root, what +
                   "\n  convert them to PNG, give them the extension of their kind, or set [data] "
                   "on_error = \"skip\" to go on without them");
  }
  log_warning(root.string() + ": left out " + what);
}

}  // namespace bitfall
