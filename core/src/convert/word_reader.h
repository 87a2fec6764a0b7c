// The words of a text that comes a piece at a time, and the numbers and codes that they stand for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"

namespace bitfall {

/// Writes what comes next to the start of the buffer; returns how many bytes, 0 at the end.
using ByteSource = std::function<std::size_t(std::span<char>)>;

/// Throws Error(kInput) that names the file if it cannot be opened or read.
ByteSource file_source(const std::filesystem::path& path);
/// Borrows the descriptor; `name` is for messages.
ByteSource descriptor_source(int descriptor, std::string name);
ByteSource text_source(std::string text);

/// A real number in decimal, hexadecimal ("0x1.8p3"), or "inf" and "nan" in any case; rounded once,
/// to nearest. Nullopt if the word is nothing of that.
std::optional<float> parse_real(std::string_view word);

/// Bits in hexadecimal, with or without "0x", or, after "0b", in binary. Nullopt if the word is
/// nothing of that or has more than 32 bits.
std::optional<std::uint32_t> parse_code(std::string_view word);

/// Splits at white space and commas. Holds a piece of the text, never all of it.
class WordReader {
 public:
  enum class Places { kLines, kNone };

  /// `name` stands before messages; with kLines line and column follow it.
  WordReader(ByteSource source, std::string name, Places places);

  /// Reads once from the source and calls take(word) for every word that is whole now. False at the
  /// end of the text. Throws refusal() for a word that is longer than any number.
  template <typename Take>
  bool read(Take take) {
    fill();
    while (next_word()) take(word_);
    return !ended_;
  }

  /// "values.txt:3:7: 'abc' is not a number": about the word that was taken last;
  /// kInput, or kUsage without places. Columns count bytes from 1.
  Error refusal(const std::string& problem) const;

 private:
  void fill();
  bool next_word();

  ByteSource source_;
  std::string name_;
  Places places_;
  std::vector<char> buffer_;
  std::size_t position_ = 0;  // within the buffer
  std::size_t filled_ = 0;
  bool ended_ = false;
  std::string_view word_;
  std::int64_t passed_ = 0;  // bytes before the buffer
  std::int64_t line_ = 1;
  std::int64_t line_start_ = 0;  // bytes before the line
  std::int64_t column_ = 1;
};

}  // namespace bitfall
