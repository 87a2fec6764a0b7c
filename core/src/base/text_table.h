// An aligned table of text for the terminal.
#pragma once

#include <string>
#include <vector>

namespace bitfall {

class TextTable {
 public:
  enum Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = kLeft;
  };
  explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}
  /// One cell a column, as printable() has it: names come from files of any origin.
  void add(std::vector<std::string> cells);
  /// A line of its own across all columns, such as the name of the rows below it.
  void add_line(std::string text);
  /// Title line, a rule, a line a row; two blanks between columns, none at line ends. Widths count
  /// code points.
  std::string render() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace bitfall
