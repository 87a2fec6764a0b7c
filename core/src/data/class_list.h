// Lists of class names, as a user writes them: text or JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

/// More classes than any labels should name without a class list.
inline constexpr std::int64_t kMostClasses = 1'000'000;

/// In the order of a model's outputs.
struct ClassList {
  std::vector<std::string> names;
  /// What folders and labels may call the classes instead, one for each, as ImageNet's "n01440764";
  /// empty where the file names none.
  std::vector<std::string> ids;
  bool lines = false;  // a text: class i stands in line i + 1
};

/// The names in a file, which may occur more than once (ImageNet's do). JSON, by its content or its
/// name: an array of names, an object {index: name} or {name: index}; where a name is
/// ["n01440764", "tench"] the first is its id. Else a text, a name per line, without surrounding
/// blanks, empty lines only at its end; where every line begins with an id of WordNet and a blank,
/// that is its id. Throws Error(kInput): "PATH:LINE: what is wrong".
ClassList read_class_list(const std::filesystem::path& path);

/// Whether a text is an id of WordNet and more behind a blank: "n01440764 tench, Tinca tinca".
bool begins_with_id(std::string_view text);

/// The names alone.
std::vector<std::string> read_class_names(const std::filesystem::path& path);

/// The same list, of classes that differ: refuses ids, or without them names, that occur twice.
ClassList read_distinct_classes(const std::filesystem::path& path);

/// Finds classes by what folders and labels call them: their id, else their name.
class ClassIndex {
 public:
  explicit ClassIndex(const ClassList& list);
  /// Its number; nothing where there is none, or where several classes have this name.
  std::optional<std::size_t> find(const std::string& called) const;
  bool is_shared(const std::string& name) const { return shared_.contains(name); }

 private:
  std::map<std::string, std::size_t> places_;
  std::set<std::string> shared_;
};

/// What is left of a name without regard to case and to what separates words: '_', '-' and blanks.
std::string folded(std::string_view name);

/// Names in the order in which people count: numbers in them by their value, without regard to
/// case. timm sorts folders so; torchvision and Bitfall take text order.
std::vector<std::string> natural_order(std::vector<std::string> names);

/// "'1', '10', '2', ...": some of a list, from `first` on.
std::string excerpt(const std::vector<std::string>& names, std::size_t first);

}  // namespace bitfall
