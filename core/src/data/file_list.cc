#include "file_list.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "bad_input.h"
#include "csv.h"
#include "json_file.h"
#include "numbers.h"
#include "text_file.h"
#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// The files of a folder, found by names that may lack their extension. Each folder is listed once.
class ImageFiles {
 public:
  explicit ImageFiles(fs::path root) : root_(std::move(root)) {}

  /// The path relative to the root, or "" if there is no such file, or several.
  std::string find(std::string_view name) {
    // Lists begin paths with '/' or "./" to say: in this folder.
    while (name.starts_with("/")) name.remove_prefix(1);
    const fs::path path = fs::path(name).lexically_normal();
    if (path.empty() || *path.begin() == "..") return "";
    const std::string folder = path.parent_path().string(), file = path.filename().string();
    const Folder& entries = listed(folder);
    const std::string prefix = folder.empty() ? "" : folder + "/";
    if (entries.files.contains(file)) return prefix + file;
    const auto [first, last] = entries.stems.equal_range(file);
    return first != last && std::next(first) == last ? prefix + first->second : "";
  }

  const fs::path& root() const { return root_; }

 private:
  struct Folder {
    std::set<std::string> files;
    std::multimap<std::string, std::string> stems;  // of images: the name without extension
  };

  const Folder& listed(const std::string& folder) {
    const auto [place, is_new] = folders_.try_emplace(folder);
    std::error_code ignored;
    if (!is_new || !fs::is_directory(root_ / folder, ignored)) return place->second;
    for (const FolderEntry& entry : entries_of(root_ / folder)) {
      if (entry.is_folder) continue;
      place->second.files.insert(entry.name);
      if (has_image_name(entry.name)) {
        place->second.stems.emplace(fs::path(entry.name).stem().string(), entry.name);
      }
    }
    return place->second;
  }

  fs::path root_;
  std::map<std::string, Folder> folders_;
};

struct ListEntry {
  std::string image;    // as the list has it; "" = the next image of the folder
  std::string label;    // "" = the image's folder says it
  std::string where;    // "val.txt:3"
  bool name = false;    // the label is the name of a class, though it may look like a number
  bool folder = false;  // it was the image's folder
};

std::string lower_extension(const fs::path& path) {
  std::string text = path.extension().string();
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

// Text --------------------------------------------------------------------------------------------

class TextList {
 public:
  TextList(const fs::path& path, std::string_view text, ImageFiles& files)
      : path_(path), text_(text), files_(files) {}

  std::vector<ListEntry> read() {
    if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
    while (!text_.empty() && (text_.back() == '\n' || text_.back() == '\r')) text_.remove_suffix(1);
    if (text_.empty()) fail(path_, "the list is empty; it needs one image per line");
    const std::string first(trimmed(text_.substr(0, text_.find('\n'))));
    const bool whole = !files_.find(first).empty();
    const std::size_t comma = first.find(',');
    const bool commas = !whole && comma != first.npos &&
                        (form_of(first) != kPairs || !files_.find(first.substr(0, comma)).empty());
    if (commas || lower_extension(path_) == ".csv") {
      read_rows();
    } else {
      read_lines(whole ? kImages : form_of(first));
    }
    if (entries_.empty()) fail(path_, "the list names no images");
    return std::move(entries_);
  }

 private:
  enum Form { kImages, kPairs, kLabels };

  static Form form_of(const std::string& line) {
    if (line.find_first_of(" \t") != line.npos) return kPairs;
    return line.find('/') != line.npos || has_image_name(line) ? kImages : kLabels;
  }

  std::string at(std::int64_t line) const { return path_.string() + ":" + std::to_string(line); }

  void check(const std::string& text, std::int64_t line) const {
    if (text.empty()) fail(at(line), "empty line in the list");
    if (!is_presentable(text)) fail(at(line), "the line is not plain UTF-8 text");
  }

  void read_lines(Form form) {
    std::int64_t line = 0;
    for (std::size_t begin = 0; begin <= text_.size();) {
      const std::size_t end = std::min(text_.find('\n', begin), text_.size());
      std::string text(trimmed(text_.substr(begin, end - begin)));
      begin = end + 1;
      ++line;
      // A tab is no character of a name.
      const std::size_t tab = text.find('\t');
      if (tab != text.npos) text[tab] = ' ';
      check(text, line);
      if (form != kPairs) {
        entries_.push_back(form == kImages ? ListEntry{text, "", at(line)}
                                           : ListEntry{"", text, at(line)});
        continue;
      }
      const std::size_t blank = tab != text.npos ? tab : text.rfind(' ');
      if (blank == text.npos) {
        fail(at(line), "names no label, which other lines have behind a blank");
      }
      entries_.push_back({std::string(trimmed(text.substr(0, blank))),
                          std::string(trimmed(text.substr(blank + 1))), at(line)});
    }
  }

  void read_rows() {
    CsvReader reader(text_);
    bool first = true;
    while (const std::vector<CsvField>* row = reader.next()) {
      const std::int64_t line = row->front().where.line;
      if (row->size() != 2) {
        fail(at(line), "has " + std::to_string(row->size()) +
                           " fields; a list with commas has two: image,label");
      }
      const std::string image(trimmed((*row)[0].text)), label(trimmed((*row)[1].text));
      check(image, line);
      check(label, line);
      // A header names no file.
      if (!first || !files_.find(image).empty()) {
        entries_.push_back({image, label, at(line)});
      } else {
        header_ = {image, label, at(line)};
      }
      first = false;
    }
    if (const auto& problem = reader.problem()) fail(at(problem->where.line), problem->message);
    // If nothing else is there, it was an image that is missing.
    const bool rest = !entries_.empty() && !files_.find(entries_.front().image).empty();
    if (!header_.where.empty() && !rest) entries_.insert(entries_.begin(), header_);
  }

  const fs::path& path_;
  std::string_view text_;
  ImageFiles& files_;
  ListEntry header_;
  std::vector<ListEntry> entries_;
};

// JSON --------------------------------------------------------------------------------------------

class JsonFileList {
 public:
  explicit JsonFileList(const fs::path& path) : path_(path) {}

  std::vector<ListEntry> read() {
    const Json document = read_json(path_);
    if (document.is_array()) {
      add_all(document, "");
    } else if (document.is_object()) {
      for (const auto& [name, images] : document.items()) {
        if (!images.is_array()) refuse("class '" + name + "'");
        const bool parts = !images.empty() && !images.front().is_string();
        if (parts) {
          fail(path_, "holds several lists, such as '" + name +
                          "'; write the one that is wanted into a file of its own");
        }
        add_all(images, name);
      }
    } else {
      refuse("it");
    }
    if (entries_.empty()) fail(path_, "the list names no images");
    return std::move(entries_);
  }

 private:
  [[noreturn]] void refuse(const std::string& which) const {
    fail(path_, which +
                    " is nothing that a list may hold: a JSON list is an array of images "
                    "or of [image, label], or an object {class: [images]}");
  }

  void add_all(const Json& images, const std::string& label) {
    for (std::size_t i = 0; i < images.size(); ++i) {
      const std::string which =
          (label.empty() ? "entry " : "class '" + label + "', entry ") + std::to_string(i);
      add(images[i], label, which);
    }
  }

  void add(const Json& entry, std::string label, const std::string& which) {
    const bool pair = label.empty() && entry.is_array() && entry.size() >= 2;
    const Json& image = pair ? entry[0] : entry;
    if (!image.is_string() || (pair && !entry[1].is_string() && !entry[1].is_number_integer())) {
      refuse(which);
    }
    if (pair) label = entry[1].is_string() ? entry[1].get<std::string>() : json_text(entry[1], -1);
    const auto& name = image.get_ref<const std::string&>();
    const std::string where = path_.string() + ": " + which;
    if (name.empty() || (pair && label.empty())) fail(where, "names nothing");
    if (!is_presentable(name) || !is_presentable(label)) fail(where, "is not plain text");
    entries_.push_back({name, label, where, !pair && !label.empty()});
  }

  const fs::path& path_;
  std::vector<ListEntry> entries_;
};

// Classes -----------------------------------------------------------------------------------------

/// "7", also as "+7" and, as tables of real numbers have it, "7.0". What is too large for any class
/// is the largest number.
std::optional<std::int64_t> integer(const std::string& text) {
  std::string_view digits = text;
  if (digits.starts_with('+')) digits.remove_prefix(1);
  if (const auto point = digits.find('.'); point != digits.npos && point > 0) {
    if (digits.find_first_not_of('0', point + 1) != digits.npos) return std::nullopt;
    digits = digits.substr(0, point);
  }
  if (const auto number = parse_integer(digits)) return number;
  const bool all = !digits.empty() && digits.find_first_not_of("0123456789") == digits.npos;
  return all ? std::optional(std::numeric_limits<std::int64_t>::max()) : std::nullopt;
}

/// Makes the listing of the entries.
class ListedImages {
 public:
  ListedImages(const fs::path& list, const fs::path& class_list, ImageFiles& files, bool skip)
      : list_(list), class_list_(class_list), files_(files), skip_(skip) {}

  ImageListing read(std::vector<ListEntry> entries) {
    if (entries.front().image.empty()) name_images(entries);
    for (ListEntry& entry : entries) take_label(entry);
    find_classes(entries);
    // Numbers need no index of their names, of which there may be a million for one label.
    const ClassIndex index(listing_.numbered ? ClassList{} : listing_.classes);
    listing_.files.resize(listing_.classes.names.size());
    std::map<std::string, std::string> seen;
    for (const ListEntry& entry : entries) {
      const auto label = label_of(entry, index);
      const std::string image = label ? file_of(entry) : "";
      if (image.empty()) {
        missing_.push_back(&entry);
        continue;
      }
      const auto [first, is_new] = seen.emplace(image, entry.where);
      if (!is_new) fail(entry.where, "names '" + image + "' again, after " + first->second);
      listing_.files[*label].push_back(image);
    }
    tell_missing(seen.empty());
    return std::move(listing_);
  }

 private:
  /// Of labels alone: they are those of the folder's images in the order of their names.
  void name_images(std::vector<ListEntry>& entries) const {
    const std::string name = list_.filename().string();
    if (name.starts_with("ILSVRC") && name.find("ground_truth") != name.npos &&
        integer(entries.front().label)) {
      fail(entries.front().where,
           "the label is " + entries.front().label +
               ", a number of ImageNet's development kit (ILSVRC2012_ID in its meta.mat), and no "
               "class's number: these count from 0 in the order of the WordNet ids; write the ids "
               "(n01440764) instead, as torchvision's parse_devkit_archive does");
    }
    std::vector<std::string> images;
    ExtensionCounts lost;
    for (const FolderEntry& entry : entries_of(files_.root())) {
      if (entry.is_folder || is_hidden(entry.name)) continue;
      if (has_image_name(entry.name)) {
        images.push_back(entry.name);
      } else if (is_other_image(files_.root() / entry.name)) {
        lost.add(entry.name);
      }
    }
    Losses losses;
    losses.add("the folder", lost, images.size());
    losses.tell(files_.root(), false);  // each image has a label here, so that none can be left out
    if (images.size() != entries.size()) {
      fail(list_, "has " + std::to_string(entries.size()) + " labels, one per line, but " +
                      files_.root().string() + " holds " + std::to_string(images.size()) +
                      " images");
    }
    for (std::size_t i = 0; i < images.size(); ++i) entries[i].image = images[i];
  }

  /// Where the list has no label the folder is it; of an id with more behind it ("n03995372 85 1
  /// 499 272", a box), the id.
  static void take_label(ListEntry& entry) {
    if (entry.label.empty()) {
      std::string_view name = entry.image;
      while (name.starts_with("/") || name.starts_with("./")) {
        name.remove_prefix(name.find('/') + 1);
      }
      const std::size_t slash = name.find('/');
      if (slash == name.npos) {
        fail(entry.where, "'" + entry.image + "' has no label, and no folder that says its class");
      }
      entry.label = name.substr(0, slash);
      entry.name = entry.folder = true;
    } else if (begins_with_id(entry.label)) {
      entry.label.erase(entry.label.find_first_of(" \t"));
    }
  }

  void find_classes(const std::vector<ListEntry>& entries) {
    if (!class_list_.empty()) {
      listing_.classes = read_distinct_classes(class_list_);
      return;
    }
    const auto all = [&](auto&& holds) {
      return std::all_of(entries.begin(), entries.end(), holds);
    };
    ExtensionCounts beside;
    std::int64_t hidden = 0;
    const std::vector<std::string> folders = class_folder_names(files_.root(), beside, hidden);
    std::set<std::string> labels;
    for (const ListEntry& entry : entries) labels.insert(entry.label);
    // Classes of which the list has no image keep their place.
    if (all([](const ListEntry& entry) { return entry.folder; }) ||
        std::includes(folders.begin(), folders.end(), labels.begin(), labels.end())) {
      listing_.classes.names = folders;
    } else if (all([](const ListEntry& e) { return !e.name && integer(e.label).has_value(); })) {
      number_classes(entries);
    } else {
      listing_.classes.names.assign(labels.begin(), labels.end());
    }
  }

  void number_classes(const std::vector<ListEntry>& entries) {
    std::int64_t last = -1;
    for (const ListEntry& entry : entries) {
      const std::int64_t label = *integer(entry.label);
      if (label < 0 || label >= kMostClasses) {
        fail(entry.where, "the label is " + entry.label + "; labels must be from 0 to " +
                              std::to_string(kMostClasses - 1));
      }
      last = std::max(last, label);
    }
    listing_.numbered = true;
    for (std::int64_t i = 0; i <= last; ++i) {
      listing_.classes.names.push_back(std::to_string(i));
    }
  }

  /// Nothing where the image's folder, which would be its class, is missing.
  std::optional<std::size_t> label_of(const ListEntry& entry, const ClassIndex& index) const {
    const std::vector<std::string>& names = listing_.classes.names;
    const auto named = index.find(entry.label);
    const auto number = entry.name ? std::nullopt : integer(entry.label);
    if (number && named && *number != static_cast<std::int64_t>(*named)) {
      fail(entry.where, "the label " + entry.label +
                            " may be the number of a class, or the name of "
                            "class " +
                            std::to_string(*named) +
                            "; give the classes in [data] classes, "
                            "by names that are no numbers or in the order of their numbers");
    }
    if (named) return named;
    if (number && *number >= 0 && *number < std::ssize(names)) {
      return static_cast<std::size_t>(*number);
    }
    if (number) {
      fail(entry.where,
           "the label is " + entry.label + "; labels must be from 0 to " +
               std::to_string(names.size() - 1) +
               (*number == std::ssize(names) ? ", and these seem to count from 1" : ""));
    }
    if (entry.folder && class_list_.empty()) return std::nullopt;
    const std::string near = did_you_mean(entry.label, names);
    fail(entry.where, "'" + entry.label + "' is not a class" +
                          (class_list_.empty() ? "" : " of " + class_list_.string()) +
                          (near.empty() ? "" : "; " + near));
  }

  /// Lists by class may leave out the class's folder.
  std::string file_of(const ListEntry& entry) {
    const std::string image = files_.find(entry.image);
    return image.empty() ? files_.find(entry.label + "/" + entry.image) : image;
  }

  void tell_missing(bool all) {
    if (missing_.empty()) return;
    const ListEntry& first = *missing_.front();
    if (!skip_ || all) {
      const fs::path parent = files_.root().parent_path();
      const bool above = !ImageFiles(parent).find(first.image).empty();
      fail(first.where,
           files_.root().string() + " holds no image '" + first.image + "'" +
               (above ? "; " + parent.string() + " does: set [data] path to that folder" : "") +
               (missing_.size() > 1
                    ? "\n  and lacks " + std::to_string(missing_.size() - 1) + " more of the list"
                    : ""));
    }
    for (const ListEntry* entry : missing_) {
      listing_.skipped.push_back(entry->image + ": there is no such file (" + entry->where + ")");
    }
  }

  const fs::path& list_;
  const fs::path& class_list_;
  ImageFiles& files_;
  bool skip_;
  ImageListing listing_;
  std::vector<const ListEntry*> missing_;
};

}  // namespace

ImageListing read_file_list(const fs::path& root, const fs::path& list, const fs::path& class_list,
                            bool skip) {
  ImageFiles files(root);
  std::vector<ListEntry> entries;
  if (lower_extension(list) == ".json") {
    entries = JsonFileList(list).read();
  } else {
    const std::string text = read_text(list);
    entries = TextList(list, text, files).read();
  }
  return ListedImages(list, class_list, files, skip).read(std::move(entries));
}

}  // namespace bitfall
