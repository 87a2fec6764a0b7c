#include "text_table.h"

#include <algorithm>
#include <utility>

#include "utf8.h"

namespace bitfall {

void TextTable::add(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = printable(cell);
  rows_.push_back(std::move(cells));
}

void TextTable::add_line(std::string text) { add({std::move(text)}); }

std::string TextTable::render() const {
  const auto is_line = [&](const auto& row) { return row.size() < columns_.size(); };
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    std::size_t width = code_points(columns_[c].title);
    for (const auto& row : rows_) {
      if (!is_line(row)) width = std::max(width, code_points(row[c]));
    }
    widths.push_back(width);
  }
  std::string text;
  const auto line = [&](const auto& cell) {
    std::string row;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      const std::string content = cell(c);
      const std::string padding(widths[c] - code_points(content), ' ');
      if (c > 0) row += "  ";
      row += columns_[c].align == kRight ? padding + content : content + padding;
    }
    row.erase(row.find_last_not_of(' ') + 1);
    text += row + "\n";
  };
  line([&](std::size_t c) { return columns_[c].title; });
  line([&](std::size_t c) { return std::string(widths[c], '-'); });
  for (const auto& row : rows_) {
    if (is_line(row)) {
      text += row.front() + "\n";
    } else {
      line([&](std::size_t c) { return row[c]; });
    }
  }
  return text;
}

}  // namespace bitfall
