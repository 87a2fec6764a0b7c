#include "class_names.h"

#include <map>
#include <set>

#include "words.h"

namespace bitfall {

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
