#include "words.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <numeric>
#include <utility>

namespace bitfall {
namespace {

constexpr std::size_t kLongestName = 256;  // names beyond it have no near ones

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours cost 1
/// each.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

}  // namespace

std::string in_quotes(std::string_view text) { return "'" + std::string(text) + "'"; }

std::string quoted_list(std::span<const std::string> words) {
  return words.empty() ? "" : in_quotes(joined(words, "', '"));
}

std::string joined(std::span<const std::string> words, std::string_view separator) {
  std::string text;
  for (const std::string& word : words) {
    if (&word != &words.front()) text += separator;
    text += word;
  }
  return text;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == text.npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string_view trimmed(std::string_view text) {
  constexpr const char* kBlanks = " \t\r";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::string nearest(std::string_view given, std::span<const std::string> known) {
  if (given.size() > kLongestName) return "";
  const std::size_t limit = std::max<std::size_t>(1, given.size() / 3);
  // Case is the commonest slip ("FP16"), so it costs nothing.
  const std::string wanted = lower_case(given);
  std::size_t best = limit + 1;
  const std::string* name = nullptr;
  for (const std::string& candidate : known) {
    const std::size_t longer = std::max(candidate.size(), given.size());
    const std::size_t shorter = std::min(candidate.size(), given.size());
    if (longer - shorter >= best) continue;
    const std::size_t distance = edit_distance(wanted, lower_case(candidate));
    // A name of which nothing is left is not near ("x" for "y").
    if (distance >= best || distance >= longer) continue;
    best = distance;
    name = &candidate;
  }
  return name ? *name : "";
}

std::string did_you_mean(std::string_view given, std::span<const std::string> known) {
  const std::string near = nearest(given, known);
  return near.empty() ? "" : "did you mean " + in_quotes(near) + "?";
}

std::string shell_word(const std::string& text) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  return in_quotes(joined(split(text, '\''), "'\\''"));
}

}  // namespace bitfall
