// Words and lists of them, as messages, tables and command lines write them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

/// 'text'
std::string in_quotes(std::string_view text);
/// 'one', 'two'
std::string quoted_list(std::span<const std::string> words);

std::string joined(std::span<const std::string> words, std::string_view separator = ", ");
/// The parts between separators, empty ones included: always one more than there are separators.
std::vector<std::string> split(std::string_view text, char separator);
/// Without blanks, tabs and carriage returns at both ends.
std::string_view trimmed(std::string_view text);

/// The name in `known` nearest to `given` (Damerau-Levenshtein distance at most a third of its
/// length, at least 1), or "" if none is near.
std::string nearest(std::string_view given, std::span<const std::string> known);
/// "did you mean 'batch'?", or "" if nothing in `known` is near.
std::string did_you_mean(std::string_view given, std::span<const std::string> known);

/// The text as it is where a POSIX shell takes it for one word, else in single quotes: for commands
/// that people copy.
std::string shell_word(const std::string& text);

}  // namespace bitfall
