#include "diagnostics.h"

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <utility>

#include "error.h"
#include "utf8.h"

namespace bitfall {
namespace {

constexpr std::size_t kQuoteWidth = 120;  // longest quoted piece of a line, in code points
constexpr std::size_t kQuoteBefore = 40;  // of which before the place, when the line is cut
constexpr int kGutter = 5;                // width of the line number
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kEllipsis = "...";

std::string repeated(std::size_t count, char character) { return std::string(count, character); }

/// The quoted line and, below it, its caret line (each without the gutter).
std::pair<std::string, std::string> quote(const std::string& line, const SourceRange& where) {
  const std::vector<std::string> points = printable_points(line);
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

}  // namespace

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

std::string Diagnostics::messages() const {
  std::string text;
  for (const Entry& entry : entries_) {
    text += (text.empty() ? "" : "; ") + entry.message;
    if (!entry.hint.empty()) text += " (" + entry.hint + ")";
  }
  return text;
}

void Diagnostics::throw_if_any() const {
  if (empty()) return;
  const std::string count = std::to_string(entries_.size());
  throw Error(ExitCode::kUsage,
              render() + count + (entries_.size() == 1 ? " error" : " errors") + " in " + path_);
}

}  // namespace bitfall
