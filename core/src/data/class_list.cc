#include "class_list.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "bad_input.h"
#include "json_file.h"
#include "text_file.h"
#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

fs::path at_line(const fs::path& path, std::size_t index) {
  return path.string() + ":" + std::to_string(index + 1);
}

// Text --------------------------------------------------------------------------------------------

std::vector<std::string> name_lines(const fs::path& path, std::string_view text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.emplace_back(trimmed(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  if (lines.empty()) fail(path, "the class list is empty; it needs one name per line");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty()) fail(at_line(path, i), "empty line in the class list");
    if (begins_with_id(lines[i])) std::replace(lines[i].begin(), lines[i].end(), '\t', ' ');
    if (!is_presentable(lines[i])) fail(at_line(path, i), "the class name is not plain UTF-8 text");
  }
  return lines;
}

ClassList from_lines(std::vector<std::string> lines) {
  if (!std::all_of(lines.begin(), lines.end(), begins_with_id)) return {std::move(lines), {}, true};
  ClassList list{{}, {}, true};
  for (const std::string& line : lines) {
    const std::size_t end = line.find_first_of(" \t");
    list.ids.push_back(line.substr(0, end));
    list.names.emplace_back(trimmed(std::string_view(line).substr(end)));
  }
  return list;
}

// JSON --------------------------------------------------------------------------------------------

class JsonList {
 public:
  JsonList(const fs::path& path, const Json& document) : path_(path), document_(document) {}

  ClassList read() {
    if (document_.is_array()) {
      for (std::size_t i = 0; i < document_.size(); ++i) {
        add("entry " + std::to_string(i) + " (counted from 0)", document_[i]);
      }
    } else if (document_.is_object() && !document_.empty() &&
               document_.front().is_number_integer()) {
      read_indices();
    } else if (document_.is_object()) {
      read_names();
    } else {
      fail(path_, std::string(kForms));
    }
    if (list_.names.empty()) fail(path_, "the list of classes is empty");
    if (!list_.ids.empty() && list_.ids.size() != list_.names.size()) {
      fail(path_, "some classes are [id, name], others only a name");
    }
    return std::move(list_);
  }

 private:
  static constexpr std::string_view kForms =
      "a list of classes is a JSON array of names, or an object {index: name} or {name: index}";

  /// A name, or [id, name].
  void add(const std::string& which, const Json& entry) {
    const bool pair = entry.is_array() && entry.size() == 2;
    for (std::size_t i = 0; i < (pair ? 2U : 1U); ++i) {
      const Json& text = pair ? entry[i] : entry;
      if (!text.is_string()) fail(path_, which + " is not a string");
      if (text.get_ref<const std::string&>().empty()) fail(path_, which + " is empty");
      if (!is_presentable(text.get_ref<const std::string&>())) {
        fail(path_, which + " is not plain text");
      }
    }
    if (pair) list_.ids.push_back(entry[0]);
    list_.names.push_back(pair ? entry[1] : entry);
  }

  /// {"0": "tench"}
  void read_names() {
    std::vector<const Json*> entries(document_.size(), nullptr);
    for (const auto& [key, entry] : document_.items()) {
      const bool number =
          !key.empty() && key.size() < 10 && std::all_of(key.begin(), key.end(), is_digit);
      if (!number) fail(path_, "the key '" + key + "' is not an index; " + std::string(kForms));
      entries[place(key, std::stoull(key), entries)] = &entry;
    }
    for (std::size_t i = 0; i < entries.size(); ++i) {
      add("the name of class " + std::to_string(i), *entries[i]);
    }
  }

  /// {"tench": 0}
  void read_indices() {
    std::vector<std::string> names(document_.size());
    for (const auto& [key, entry] : document_.items()) {
      if (!entry.is_number_integer())
        fail(path_, "the index of class '" + key + "' is not an integer");
      const bool counts = entry >= 0 && entry < std::int64_t{1'000'000'000};
      names[place(json_text(entry, -1), counts ? entry.get<std::size_t>() : names.size(), names)] =
          key;
    }
    for (const std::string& name : names) add("class '" + name + "'", name);
  }

  /// Every index occurs once, so that none is missing.
  template <typename Entries>
  std::size_t place(const std::string& text, std::size_t index, const Entries& entries) {
    if (index >= entries.size()) {
      fail(path_, "names " + std::to_string(entries.size()) + " classes, and one has index " +
                      text + "; indices run from 0 to " + std::to_string(entries.size() - 1));
    }
    if (taken_.size() != entries.size()) taken_.resize(entries.size());
    if (taken_[index]) fail(path_, "the index " + text + " occurs twice");
    taken_[index] = true;
    return index;
  }

  const fs::path& path_;
  const Json& document_;
  ClassList list_;
  std::vector<bool> taken_;
};

/// A name in brackets may begin a text too.
bool is_json(const fs::path& path, std::string_view text) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), lower);
  if (extension == ".json") return true;
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != text.npos && (text[first] == '[' || text[first] == '{') && Json::accept(text);
}

// Natural order -----------------------------------------------------------------------------------

/// Negative, 0 or positive, of two runs of digits by their value.
int compare_numbers(std::string_view a, std::string_view b) {
  a.remove_prefix(std::min(a.find_first_not_of('0'), a.size()));
  b.remove_prefix(std::min(b.find_first_not_of('0'), b.size()));
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  return a.compare(b);
}

/// The run of digits, or of all else, at the front of `text`, which it is taken from.
std::string_view take_run(std::string_view& text, bool digits) {
  std::size_t end = 0;
  while (end < text.size() && is_digit(text[end]) == digits) ++end;
  const std::string_view run = text.substr(0, end);
  text.remove_prefix(end);
  return run;
}

bool natural_less(const std::string& first, const std::string& second) {
  std::string_view a = first, b = second;
  while (!a.empty() || !b.empty()) {
    const std::string_view text_a = take_run(a, false), text_b = take_run(b, false);
    if (const int order = text_a.compare(text_b); order != 0) return order < 0;
    if (a.empty() || b.empty()) return a.empty() && !b.empty();
    const int order = compare_numbers(take_run(a, true), take_run(b, true));
    if (order != 0) return order < 0;
  }
  return false;
}

}  // namespace

bool begins_with_id(std::string_view text) {
  constexpr std::size_t kLength = 9;
  return text.size() > kLength && text[0] == 'n' &&
         (text[kLength] == ' ' || text[kLength] == '\t') &&
         std::all_of(text.begin() + 1, text.begin() + kLength, is_digit);
}

ClassList read_class_list(const fs::path& path) {
  const std::string text = read_text(path);
  std::string_view rest = text;
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  if (is_json(path, rest)) return JsonList(path, parse_json(path, rest)).read();
  return from_lines(name_lines(path, rest));
}

std::vector<std::string> read_class_names(const fs::path& path) {
  return read_class_list(path).names;
}

ClassList read_distinct_classes(const fs::path& path) {
  ClassList list = read_class_list(path);
  const std::vector<std::string>& keys = list.ids.empty() ? list.names : list.ids;
  std::map<std::string_view, std::size_t> seen;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto [first, is_new] = seen.emplace(keys[i], i);
    if (is_new) continue;
    const std::string what = "class '" + keys[i] + "' is in the list twice";
    if (list.lines) fail(at_line(path, i), what);
    fail(path, what + ": as number " + std::to_string(first->second) + " and " + std::to_string(i));
  }
  return list;
}

ClassIndex::ClassIndex(const ClassList& list) {
  for (std::size_t i = 0; i < list.ids.size(); ++i) places_.emplace(list.ids[i], i);
  std::map<std::string, std::size_t> names;
  for (std::size_t i = 0; i < list.names.size(); ++i) {
    if (!names.emplace(list.names[i], i).second) shared_.insert(list.names[i]);
  }
  for (const auto& [name, place] : names) {
    if (!shared_.contains(name)) places_.emplace(name, place);
  }
}

std::optional<std::size_t> ClassIndex::find(const std::string& called) const {
  const auto found = places_.find(called);
  return found == places_.end() ? std::nullopt : std::optional(found->second);
}

std::string folded(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (c != '_' && c != '-' && c != ' ') text += lower(c);
  }
  return text;
}

std::vector<std::string> natural_order(std::vector<std::string> names) {
  std::vector<std::pair<std::string, std::string>> keyed;
  for (std::string& name : names) {
    std::string key = name;
    std::transform(key.begin(), key.end(), key.begin(), lower);
    keyed.emplace_back(std::move(key), std::move(name));
  }
  std::stable_sort(keyed.begin(), keyed.end(),
                   [](const auto& a, const auto& b) { return natural_less(a.first, b.first); });
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = std::move(keyed[i].second);
  return names;
}

std::string excerpt(const std::vector<std::string>& names, std::size_t first) {
  constexpr std::size_t kShown = 3;
  std::string text = first > 0 ? "..., " : "";
  const std::size_t end = std::min(first + kShown, names.size());
  for (std::size_t i = first; i < end; ++i) text += (i > first ? ", " : "") + in_quotes(names[i]);
  return text + (end < names.size() ? ", ..." : "");
}

}  // namespace bitfall
