// Comma-separated text (RFC 4180), read a row at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

/// Where a field begins; both count from 1, columns in code points.
struct CsvPlace {
  std::int64_t line = 1;
  std::int64_t column = 1;
};

struct CsvField {
  std::string text;
  CsvPlace where;
};

struct CsvProblem {
  CsvPlace where;
  std::string message;
};

/// Accepts quoted fields with commas, doubled quotes and line ends inside, CRLF, LF and CR line
/// ends, a byte order mark, and a last line without an end. Blank lines are passed over.
class CsvReader {
 public:
  /// Borrows the text.
  explicit CsvReader(std::string_view text);

  /// The next row, in fields that are used again by the next call; null at the end or after a
  /// problem.
  const std::vector<CsvField>* next();

  /// Why reading stopped before the end of the text, if it did.
  const std::optional<CsvProblem>& problem() const { return problem_; }

 private:
  static constexpr int kEnd = -1;

  int peek() const;
  int take();
  void take_line_end(int first);
  bool read_row();
  bool read_field(CsvField& field);
  bool read_quoted(CsvField& field);
  bool fail(CsvPlace where, std::string message);
  bool is_blank() const;

  std::string_view text_;
  std::size_t position_ = 0;
  CsvPlace here_;
  std::vector<CsvField> fields_;  // the first used_ hold the row
  std::size_t used_ = 0;
  std::optional<CsvProblem> problem_;
};

}  // namespace bitfall
