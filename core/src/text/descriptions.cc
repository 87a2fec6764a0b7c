#include "descriptions.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <utility>

#include "class_names.h"
#include "error.h"
#include "json_file.h"
#include "log.h"
#include "words.h"

namespace bitfall {
namespace {

constexpr std::string_view kBlanks = " \t\n\r\f\v";

/// scripts/embed_text.py has the same rule.
std::string single_spaced(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (kBlanks.find(c) == kBlanks.npos) {
      result += c;
    } else if (!result.empty() && result.back() != ' ') {
      result += ' ';
    }
  }
  if (result.ends_with(' ')) result.pop_back();
  return result.find_first_not_of(". ") == std::string::npos ? "" : result;
}

ClassDescriptions descriptions_of(const std::string& name, const nlohmann::ordered_json& texts,
                                  const std::filesystem::path& path) {
  const auto fail = [&](const std::string& what) {
    throw Error(ExitCode::kInput, path.string() + ": class '" + name + "': " + what);
  };
  if (!texts.is_array()) fail("its descriptions are a list of texts");
  ClassDescriptions result{name, {}, 0, 0};
  std::set<std::string> seen;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (!texts[i].is_string()) fail("entry " + std::to_string(i) + " is not a text");
    std::string text = single_spaced(texts[i].get_ref<const std::string&>());
    if (text.empty()) {
      ++result.dropped;
      continue;
    }
    if (!seen.insert(text).second) ++result.duplicates;
    result.texts.push_back(std::move(text));
  }
  if (result.texts.empty()) fail("no description is left of " + std::to_string(texts.size()));
  return result;
}

void warn(std::span<const std::string> classes, std::span<const NamePlaces> found,
          std::span<const std::string> keys) {
  std::map<std::int64_t, std::vector<std::string>> sharing;
  std::vector<std::string> loose;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    sharing[found[i].places[0]].push_back(classes[i]);
    if (found[i].loose) loose.push_back(classes[i]);
  }
  for (const auto& [key, names] : sharing) {
    if (names.size() < 2) continue;
    log_warning("classes " + quoted_list(names) + " share the descriptions of '" +
                keys[static_cast<std::size_t>(key)] + "': nothing in the text tells them apart");
  }
  if (!loose.empty()) {
    log_warning("matched without regard to case, '_', '-' and blanks: " + quoted_list(loose));
  }
}

}  // namespace

std::vector<ClassDescriptions> read_descriptions(const std::filesystem::path& path) {
  const nlohmann::ordered_json document = read_json(path);
  if (!document.is_object() || document.empty()) {
    throw Error(ExitCode::kInput,
                path.string() + ": descriptions are a JSON object {class: [texts]}");
  }
  std::vector<ClassDescriptions> all;
  for (const auto& [name, texts] : document.items()) {
    all.push_back(descriptions_of(name, texts, path));
  }
  return all;
}

std::vector<ClassDescriptions> read_descriptions(const std::filesystem::path& path,
                                                 std::span<const std::string> classes) {
  const std::vector<ClassDescriptions> all = read_descriptions(path);
  std::vector<std::string> keys;
  for (const ClassDescriptions& entry : all) keys.push_back(entry.name);
  const std::vector<NamePlaces> found = find_names(classes, keys);
  std::vector<ClassDescriptions> chosen;
  std::vector<std::string> missing;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    if (found[i].places.empty()) {
      missing.push_back(classes[i]);
    } else {
      chosen.push_back(all[static_cast<std::size_t>(found[i].places[0])]);
      chosen.back().name = classes[i];
    }
  }
  if (!missing.empty()) {
    throw Error(ExitCode::kInput, path.string() + ": describes " +
                                      std::to_string(classes.size() - missing.size()) + " of " +
                                      std::to_string(classes.size()) +
                                      " classes; missing: " + missing_names(missing, keys));
  }
  warn(classes, found, keys);
  return chosen;
}

}  // namespace bitfall
