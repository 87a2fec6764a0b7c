// A comparison for the terminal and as Markdown.
#include <algorithm>

#include "compare.h"
#include "compare_tables.h"
#include "report_text.h"
#include "utf8.h"

namespace bitfall {
std::string compare_text(const CompareData& data, int width) {
  const auto line = static_cast<std::size_t>(std::max(40, width));
  std::string text;
  for (const std::string& warning : data.warnings) text += wrapped("warning: " + warning, line, "");
  for (const std::string& note : data.notes) text += wrapped("note: " + note, line, "");
  for (const ReportTable& table : compare_tables(data, Detail::kTerminal)) {
    text += (text.empty() ? "" : "\n") + table.title + "\n";
    if (!table.rows.empty()) text += table_text(table, width);
    text += wrapped(table.note, line, "");
  }
  return printable(text);
}

std::string compare_markdown(const CompareData& data) {
  std::string text = "# Comparison with " + markdown_text(data.arms.front().label) + "\n\n";
  for (const std::string& warning : data.warnings) {
    text += "> **Warning:** " + markdown_text(warning) + "\n>\n";
  }
  for (const std::string& note : data.notes) text += "- " + markdown_text(note) + "\n";
  for (const ReportTable& table : compare_tables(data, Detail::kFull)) {
    text += "\n## " + table.title + "\n\n" + table_markdown(table) + "\n" +
            markdown_text(table.note) + "\n";
  }
  return printable(text);
}

}  // namespace bitfall
