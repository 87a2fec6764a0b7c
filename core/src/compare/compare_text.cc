// A comparison for the terminal and as Markdown.
#include <algorithm>

#include "compare.h"
#include "compare_tables.h"
#include "report_text.h"
#include "text_table.h"

namespace bitfall {
namespace {

constexpr std::size_t kShortestName = 10;

// The first column gets what the others leave of the line.
std::string rendered(const CompareTable& table, int width) {
  std::vector<TextTable::Column> columns;
  std::size_t numbers = 0;
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    columns.push_back(
        {table.columns[c], c < table.text_columns ? TextTable::kLeft : TextTable::kRight});
    std::size_t widest = table.columns[c].size();
    for (const auto& row : table.rows) {
      if (row.size() > c) widest = std::max(widest, row[c].size());
    }
    if (c > 0) numbers += widest + 2;
  }
  const auto line = static_cast<std::size_t>(std::max(40, width));
  const std::size_t room = line > numbers + kShortestName ? line - numbers : kShortestName;
  TextTable text(columns);
  for (std::vector<std::string> row : table.rows) {
    if (row.size() == 1) {
      text.add_line(row[0]);
      continue;
    }
    row[0] = shortened(row[0], room);
    text.add(std::move(row));
  }
  return text.render();
}

std::string markdown_row(const std::vector<std::string>& cells) {
  std::string text = "|";
  for (const std::string& cell : cells) text += " " + markdown_text(cell) + " |";
  return text + "\n";
}

}  // namespace

std::string compare_text(const CompareData& data, int width) {
  const auto line = static_cast<std::size_t>(std::max(40, width));
  std::string text;
  for (const std::string& warning : data.warnings) text += wrapped("warning: " + warning, line, "");
  for (const std::string& note : data.notes) text += wrapped("note: " + note, line, "");
  for (const CompareTable& table : compare_tables(data, Detail::kTerminal)) {
    text += (text.empty() ? "" : "\n") + table.title + "\n";
    if (!table.rows.empty()) text += rendered(table, width);
    text += wrapped(table.note, line, "");
  }
  return text;
}

std::string compare_markdown(const CompareData& data) {
  std::string text = "# Comparison with " + markdown_text(data.arms.front().label) + "\n\n";
  for (const std::string& warning : data.warnings) {
    text += "> **Warning:** " + markdown_text(warning) + "\n>\n";
  }
  for (const std::string& note : data.notes) text += "- " + markdown_text(note) + "\n";
  for (const CompareTable& table : compare_tables(data, Detail::kFull)) {
    text += "\n## " + table.title + "\n\n" + markdown_row(table.columns) + "|";
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      text += c < table.text_columns ? " :--- |" : " ---: |";
    }
    text += "\n";
    for (const auto& row : table.rows) text += markdown_row(row);
    text += "\n" + markdown_text(table.note) + "\n";
  }
  return text;
}

}  // namespace bitfall
