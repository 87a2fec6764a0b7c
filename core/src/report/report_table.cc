#include "report_table.h"

#include <algorithm>

#include "html_page.h"
#include "report_text.h"
#include "text_table.h"

namespace bitfall {
namespace {

constexpr std::size_t kShortestName = 10;

std::string markdown_row(const std::vector<std::string>& cells) {
  std::string text = "|";
  for (const std::string& cell : cells) text += " " + markdown_text(cell) + " |";
  return text + "\n";
}

std::string html_cell(const std::string& kind, const std::string& text, bool words) {
  return "<" + kind + (words ? " class=\"text\">" : ">") + html_escaped(text) + "</" + kind + ">";
}

}  // namespace

// The first column gets what the others leave of the line.
std::string table_text(const ReportTable& table, int width) {
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

std::string table_markdown(const ReportTable& table) {
  std::string text = markdown_row(table.columns) + "|";
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    text += c < table.text_columns ? " :--- |" : " ---: |";
  }
  text += "\n";
  for (const auto& row : table.rows) text += markdown_row(row);
  return text;
}

std::string table_html(const ReportTable& table, const std::string& attributes) {
  const bool grouped = table.text_columns > 1;
  std::string html = "<table" + attributes + (grouped ? "" : " data-sortable") + "><thead><tr>";
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    html += html_cell("th", table.columns[c], c < table.text_columns);
  }
  html += "</tr></thead>\n<tbody>\n";
  std::string group;
  for (const auto& row : table.rows) {
    const bool again = grouped && row.front() == group;
    const bool total = table.total && &row == &table.rows.back();
    group = row.front();
    html += total               ? "<tr class=\"total\">"
            : grouped && !again ? "<tr style=\"border-top:1px solid #bbb\">"
                                : "<tr>";
    for (std::size_t c = 0; c < row.size(); ++c) {
      html += html_cell("td", c == 0 && again ? "" : row[c], c < table.text_columns);
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table>\n";
}

}  // namespace bitfall
