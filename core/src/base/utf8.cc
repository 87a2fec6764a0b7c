#include "utf8.h"

#include <algorithm>

namespace bitfall {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

bool begins_point(char c) { return (c & 0xC0) != 0x80; }

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

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
    if (length == 0 || is_control(name.front())) return false;
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
    const bool broken = length == 0 || (is_control(line.front()) && line.front() != '\t');
    points.emplace_back(broken ? kReplacement : line.substr(0, length));
    line.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return points;
}

std::string escaped_bytes(std::string_view name) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      text += c;
    } else {
      text += std::string("\\x") + kDigits[byte >> 4] + kDigits[byte & 15];
    }
  }
  return text;
}

}  // namespace bitfall
