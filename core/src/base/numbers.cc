#include "numbers.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <system_error>

#include "words.h"

namespace bitfall {
namespace {

template <typename Number>
std::optional<Number> parse(std::string_view text) {
  Number number{};
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || stop != text.data() + text.size()) return std::nullopt;
  return number;
}

template <typename Number, typename... Form>
std::string written(Number value, Form... form) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value, form...).ptr;
  return {text.data(), end};
}

template <typename Number>
std::string shortest(Number value) {
  return std::isnan(value) ? "nan" : written(value);
}

}  // namespace

std::optional<std::int64_t> parse_integer(std::string_view text) {
  return parse<std::int64_t>(text);
}

std::optional<double> parse_number(std::string_view text) { return parse<double>(text); }

std::optional<std::vector<std::int64_t>> parse_integers(std::string_view text) {
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') return std::nullopt;
  std::vector<std::string> items = split(text.substr(1, text.size() - 2), ',');
  if (trimmed(items.back()).empty()) items.pop_back();
  std::vector<std::int64_t> integers;
  for (const std::string& item : items) {
    const auto integer = parse_integer(trimmed(item));
    if (!integer) return std::nullopt;
    integers.push_back(*integer);
  }
  return integers;
}

std::string exact_text(double value) { return shortest(value); }
std::string exact_text(float value) { return shortest(value); }

std::string short_text(double value) { return written(value, std::chars_format::general, 10); }

std::string hex(std::uint32_t code) { return "0x" + written(code, 16); }

}  // namespace bitfall
