#include "diagnostics.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <numeric>
#include <tuple>
#include <utility>

#include "error.h"

namespace bitfall {
namespace {

constexpr std::size_t kQuoteWidth = 120;   // longest quoted piece of a line, in code points
constexpr std::size_t kQuoteBefore = 40;   // of which before the place, when the line is cut
constexpr std::size_t kLongestName = 256;  // names beyond it have no near ones
constexpr int kGutter = 5;                 // width of the line number
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::string_view kEllipsis = "...";

/// Length in bytes of the well-formed UTF-8 sequence at the start of `text`; 0 if there is none.
std::size_t sequence_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const std::size_t length = lead < 0x80             ? 1
                             : (lead & 0xE0) == 0xC0 ? 2
                             : (lead & 0xF0) == 0xE0 ? 3
                             : (lead & 0xF8) == 0xF0 ? 4
                                                     : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return 0;
  }
  return length;
}

/// One printable piece a code point: control characters and broken bytes must not reach the
/// terminal.
std::vector<std::string> printable_code_points(std::string_view line) {
  std::vector<std::string> points;
  while (!line.empty()) {
    const std::size_t length = sequence_length(line);
    const auto first = static_cast<unsigned char>(line.front());
    if (length == 0 || (length == 1 && (first < 0x20 || first == 0x7F) && first != '\t')) {
      points.emplace_back(kReplacement);
    } else {
      points.emplace_back(line.substr(0, length));
    }
    line.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return points;
}

std::string repeated(std::size_t count, char character) { return std::string(count, character); }

/// The quoted line and, below it, its caret line (each without the gutter).
std::pair<std::string, std::string> quote(const std::string& line, const SourceRange& where) {
  const std::vector<std::string> points = printable_code_points(line);
  // A place may lie one behind the last character (something is missing there).
  const std::size_t begin =
      std::min(static_cast<std::size_t>(std::max(where.column, 1) - 1), points.size());
  const std::size_t marks_end =
      std::clamp(static_cast<std::size_t>(std::max(where.end_column, 1) - 1), begin + 1,
                 std::max(begin + 1, points.size()));

  const bool cut = points.size() > kQuoteWidth;
  const std::size_t first = cut && begin > kQuoteBefore ? begin - kQuoteBefore : 0;
  const std::size_t last = cut ? std::min(points.size(), first + kQuoteWidth) : points.size();

  std::string text, carets;
  if (first > 0) {
    text += kEllipsis;
    carets += repeated(kEllipsis.size(), ' ');
  }
  for (std::size_t i = first; i < last; ++i) {
    text += points[i];
    if (i < begin) carets += points[i] == "\t" ? '\t' : ' ';
  }
  if (last < points.size()) text += kEllipsis;
  carets += repeated(std::min(marks_end, std::max(last, begin + 1)) - begin, '^');
  return {text, carets};
}

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

Diagnostics::Diagnostics(std::string path, std::string_view text) : path_(std::move(path)) {
  std::string_view rest = text;
  if (rest.starts_with(kByteOrderMark)) rest.remove_prefix(kByteOrderMark.size());
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines_.emplace_back(line);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

void Diagnostics::add(SourceRange where, std::string message, std::string hint) {
  entries_.push_back({where, std::move(message), std::move(hint)});
}

std::string Diagnostics::render() const {
  std::vector<const Entry*> order;
  for (const Entry& entry : entries_) order.push_back(&entry);
  const auto place = [](const Entry* entry) {  // what has no place comes last
    return std::tuple(entry->where.line == 0, entry->where.line, entry->where.column);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](const Entry* a, const Entry* b) { return place(a) < place(b); });

  std::string out;
  for (const Entry* entry : order) {
    const SourceRange& where = entry->where;
    out += path_;
    if (where.line > 0) {
      out += ':' + std::to_string(where.line) + ':' + std::to_string(std::max(where.column, 1));
    }
    out += ": " + entry->message;
    if (where.line < 1 || static_cast<std::size_t>(where.line) > lines_.size() + 1) {
      out += (entry->hint.empty() ? "" : " (" + entry->hint + ")") + '\n';
      continue;
    }
    // The end of a text that ends in a newline is the line after its last one.
    const auto index = static_cast<std::size_t>(where.line) - 1;
    const auto [text, carets] = quote(index < lines_.size() ? lines_[index] : "", where);
    std::string number = std::to_string(where.line);
    if (number.size() < kGutter) number.insert(0, kGutter - number.size(), ' ');
    out += '\n' + number + " |" + (text.empty() ? "" : " " + text) + '\n';
    out += repeated(number.size(), ' ') + " | " + carets;
    out += (entry->hint.empty() ? "" : " " + entry->hint) + '\n';
  }
  return out;
}

void Diagnostics::throw_if_any() const {
  if (empty()) return;
  const std::string count = std::to_string(entries_.size());
  throw Error(ExitCode::kUsage,
              render() + count + (entries_.size() == 1 ? " error" : " errors") + " in " + path_);
}

}  // namespace bitfall
