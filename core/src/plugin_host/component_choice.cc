#include "component_choice.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "error.h"

namespace bitfall {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || stop != text.data() + text.size()) return std::nullopt;
  return number;
}

/// "[0, 3]", "[]".
std::optional<std::vector<std::int64_t>> parse_integers(std::string_view text) {
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') return std::nullopt;
  text = trimmed(text.substr(1, text.size() - 2));
  std::vector<std::int64_t> integers;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    const auto integer = parse_number<std::int64_t>(trimmed(text.substr(0, comma)));
    if (!integer) return std::nullopt;
    integers.push_back(*integer);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return integers;
}

/// Quotes around text are optional: the shell eats them. What is not of the option's type stays
/// text.
OptionValue option_value(OptionType type, std::string_view text) {
  if (type == OptionType::kFlag && (text == "true" || text == "false")) return text == "true";
  if (type == OptionType::kInteger || type == OptionType::kNumber) {
    if (const auto integer = parse_number<std::int64_t>(text)) return *integer;
  }
  if (type == OptionType::kNumber) {
    if (const auto number = parse_number<double>(text)) return *number;
  }
  if (type == OptionType::kIntegers) {
    if (auto integers = parse_integers(text)) return std::move(*integers);
  }
  const bool quoted =
      text.size() > 1 && (text[0] == '"' || text[0] == '\'') && text.back() == text[0];
  return std::string(quoted ? text.substr(1, text.size() - 2) : text);
}

OptionType type_of(const ComponentDescription* component, std::string_view name) {
  if (component != nullptr) {
    for (const OptionSpec& spec : component->options) {
      if (name == spec.name) return spec.type;
    }
  }
  return OptionType::kText;
}

}  // namespace

PluginChoice component_choice(const PluginHost& host, ComponentKind kind, const std::string& id,
                              const std::vector<std::string>& settings) {
  PluginChoice choice;
  choice.id = id;
  const ComponentDescription* component = host.find(kind, id);
  for (const std::string& setting : settings) {
    const std::string_view text = setting;
    const auto equals = std::min(text.find('='), text.size());
    GivenOption option;
    option.name = trimmed(text.substr(0, equals));
    if (option.name.empty() || equals == text.size()) {
      throw Error(ExitCode::kUsage,
                  "--set " + setting + ": give KEY=VALUE, an option of '" + id + "' and its value");
    }
    for (const GivenOption& other : choice.options) {
      if (other.name != option.name) continue;
      throw Error(ExitCode::kUsage, "--set " + setting + ": '" + option.name + "' is set twice");
    }
    option.value = option_value(type_of(component, option.name), trimmed(text.substr(equals + 1)));
    choice.options.push_back(std::move(option));
  }
  return choice;
}

}  // namespace bitfall
