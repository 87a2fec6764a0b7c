// Collects every error of one text file with its place, so that a user sees all of them at once.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

/// A place in a text: lines and columns count from 1; end_column is exclusive; line 0 = no place.
struct SourceRange {
  int line = 0;
  int column = 0;
  int end_column = 0;
};

class Diagnostics {
 public:
  /// `path` is printed; `text` is the file's content, quoted line by line.
  Diagnostics(std::string path, std::string_view text);

  /// `hint` may be empty; it is printed behind the caret line ("did you mean 'bit_width'?").
  void add(SourceRange where, std::string message, std::string hint = "");
  bool empty() const { return entries_.empty(); }

  /// All errors in the order of their places, in this form (no colour):
  ///   campaign.toml:14:1: unknown key 'bit_widht' in [format]
  ///      14 | bit_widht = 8
  ///         | ^^^^^^^^^ did you mean 'bit_width'?
  std::string render() const;

  /// The messages with their hints on one line, without places.
  std::string messages() const;

  /// Throws Error(ExitCode::kUsage, render() + a closing count) if anything was added.
  void throw_if_any() const;

 private:
  struct Entry {
    SourceRange where;
    std::string message;
    std::string hint;
  };
  std::string path_;
  std::vector<std::string> lines_;
  std::vector<Entry> entries_;
};

}  // namespace bitfall
