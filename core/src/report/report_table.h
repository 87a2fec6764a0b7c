// A table of a report: text cells that the terminal, Markdown and HTML lay out alike.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace bitfall {

struct ReportTable {
  std::string title;
  std::string note;  // what the columns mean; may be empty
  std::vector<std::string> columns;
  std::size_t text_columns = 1;                // how many at the left hold words, not numbers
  std::vector<std::vector<std::string>> rows;  // one cell alone: a line across all columns
  bool total = false;                          // whether the last row sums up the others
};

/// For the terminal: at most `width` columns where the first one's cells can be shortened so far.
std::string table_text(const ReportTable& table, int width);
std::string table_markdown(const ReportTable& table);
/// A <table> with these attributes (' class="x"'). Of several columns of words the first is the
/// heading of a group: it is shown once.
std::string table_html(const ReportTable& table, const std::string& attributes = "");

}  // namespace bitfall
