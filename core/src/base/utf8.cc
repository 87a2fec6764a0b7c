#include "utf8.h"

#include <algorithm>
#include <cstdint>

namespace bitfall {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

bool begins_point(char c) { return (c & 0xC0) != 0x80; }

/// The code point of a sequence that sequence_length() has proven.
std::uint32_t code_point(std::string_view sequence) {
  const auto lead = static_cast<unsigned char>(sequence.front());
  if (sequence.size() == 1) return lead;
  std::uint32_t point = lead & (0x7FU >> sequence.size());
  for (const char c : sequence.substr(1))
    point = point << 6 | (static_cast<unsigned char>(c) & 0x3FU);
  return point;
}

/// C0, DEL and C1 control a terminal; the others turn the direction in which it writes, so that a
/// text reads as another.
bool is_control(std::uint32_t point) {
  if (point < 0x20 || (point >= 0x7F && point < 0xA0)) return true;
  return point == 0x61C || point == 0x200E || point == 0x200F ||
         (point >= 0x202A && point <= 0x202E) || (point >= 0x2066 && point <= 0x2069);
}

constexpr char kHexDigits[] = "0123456789abcdef";

std::string escaped_point(std::uint32_t point) {
  std::string text = point < 0x100 ? "\\x" : "\\u";
  for (int shift = point < 0x100 ? 4 : 12; shift >= 0; shift -= 4)
    text += kHexDigits[point >> shift & 15];
  return text;
}

}  // namespace

std::size_t sequence_length(std::string_view text) {
  const auto byte = [text](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  if (text.empty()) return 0;
  const unsigned lead = byte(0), second = byte(1);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  // What the second byte may be: here the shortest form, surrogates and the end of Unicode decide.
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (second < low || second > high) return 0;
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  for (std::size_t i = 2; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return 0;
  }
  return length;
}

bool is_presentable(std::string_view name) {
  while (!name.empty()) {
    const std::size_t length = sequence_length(name);
    if (length == 0 || is_control(code_point(name.substr(0, length)))) return false;
    name.remove_prefix(length);
  }
  return true;
}

std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), begins_point));
}

std::string_view first_code_points(std::string_view text, std::size_t count) {
  std::size_t end = 0;
  for (; end < text.size(); ++end) {
    if (begins_point(text[end]) && count-- == 0) break;
  }
  return text.substr(0, end);
}

std::vector<std::string> printable_points(std::string_view line) {
  std::vector<std::string> points;
  while (!line.empty()) {
    const std::size_t length = sequence_length(line);
    const bool broken =
        length == 0 || (is_control(code_point(line.substr(0, length))) && line.front() != '\t');
    points.emplace_back(broken ? kReplacement : line.substr(0, length));
    line.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return points;
}

std::string printable(std::string_view text) {
  std::string shown;
  shown.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    if (length == 0) {
      shown += escaped_point(static_cast<unsigned char>(text.front()));
    } else {
      const std::uint32_t point = code_point(text.substr(0, length));
      const bool kept = point == '\n' || point == '\t' || !is_control(point);
      shown += kept ? std::string(text.substr(0, length)) : escaped_point(point);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return shown;
}

std::string escaped_bytes(std::string_view name) {
  std::string text;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      text += c;
    } else {
      text += std::string("\\x") + kHexDigits[byte >> 4] + kHexDigits[byte & 15];
    }
  }
  return text;
}

}  // namespace bitfall
