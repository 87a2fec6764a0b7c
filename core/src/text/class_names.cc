#include "class_names.h"

#include <map>
#include <set>
#include <string_view>

#include "class_folders.h"
#include "error.h"
#include "json_file.h"
#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

/// What is left of a name without regard to case and to what separates words.
std::string folded(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (c == '_' || c == '-' || c == ' ') continue;
    text += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return text;
}

std::vector<std::string> names_of(const std::filesystem::path& path) {
  const nlohmann::ordered_json document = read_json(path);
  const auto fail = [&path](const std::string& what) {
    throw Error(ExitCode::kInput, path.string() + ": " + what);
  };
  if (!document.is_array()) fail("a list of classes is a JSON array of strings");
  std::vector<std::string> names;
  for (const auto& entry : document) {
    const std::string which = "entry " + std::to_string(names.size());
    if (!entry.is_string()) fail(which + " (counted from 0) is not a string");
    names.push_back(entry.get<std::string>());
    if (names.back().empty()) fail(which + " (counted from 0) is empty");
    if (!is_presentable(names.back())) fail(which + " (counted from 0) is not plain text");
  }
  if (names.empty()) fail("the list of classes is empty");
  return names;
}

}  // namespace

std::vector<std::string> read_class_names(const std::filesystem::path& path) {
  return path.extension() == ".json" ? names_of(path) : read_name_lines(path);
}

std::vector<NamePlaces> find_names(std::span<const std::string> wanted,
                                   std::span<const std::string> known) {
  std::map<std::string, std::vector<std::int64_t>> exact;
  std::map<std::string, std::set<std::string>> spellings;
  for (std::size_t i = 0; i < known.size(); ++i) {
    exact[known[i]].push_back(static_cast<std::int64_t>(i));
    spellings[folded(known[i])].insert(known[i]);
  }
  std::vector<NamePlaces> found;
  for (const std::string& name : wanted) {
    found.emplace_back();
    if (const auto same = exact.find(name); same != exact.end()) {
      found.back().places = same->second;
    } else if (const auto alike = spellings.find(folded(name));
               alike != spellings.end() && alike->second.size() == 1) {
      found.back() = {exact[*alike->second.begin()], true};
    }
  }
  return found;
}

std::string missing_names(std::span<const std::string> missing,
                          std::span<const std::string> known) {
  constexpr std::size_t kNearestOf = 20;  // each is compared with all names
  std::string text;
  for (std::size_t i = 0; i < missing.size(); ++i) {
    text += (i > 0 ? ", " : "") + in_quotes(missing[i]);
    const std::string near = i < kNearestOf ? nearest(missing[i], known) : "";
    if (!near.empty()) text += " (near it: " + in_quotes(near) + ")";
  }
  return text;
}

}  // namespace bitfall
