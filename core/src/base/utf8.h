// Text of any origin as UTF-8 (RFC 3629): what a terminal, a table or a page can show of it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace bitfall {

/// Length in bytes of the sequence at the front of `text`: 1 to 4; 0 if it is not UTF-8 (cut short,
/// longer than needed, a surrogate, beyond U+10FFFF) or `text` is empty.
std::size_t sequence_length(std::string_view text);

/// True for UTF-8 without control characters and without marks that turn the direction of writing:
/// names go into CSV, JSON and HTML.
bool is_presentable(std::string_view name);

/// Number of code points, which a terminal shows as as many columns unless letters are wide.
std::size_t code_points(std::string_view text);
/// The first `count` code points.
std::string_view first_code_points(std::string_view text, std::size_t count);

/// The code points of a line, with U+FFFD in place of each control character but the tab, and of
/// each byte that belongs to no sequence: these must not reach a terminal.
std::vector<std::string> printable_points(std::string_view line);

/// A text of any origin as a terminal may be given it: control characters but the line feed and the
/// tab, marks that turn the direction of writing, and bytes that are no UTF-8 become \x1b or
/// \u202e; the rest stays as it is.
std::string printable(std::string_view text);

/// Every byte that is not printable ASCII as \xNN.
std::string escaped_bytes(std::string_view name);

}  // namespace bitfall
