#include "plugin_options.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>
#include <utility>

#include "numbers.h"
#include "words.h"

namespace bitfall {
namespace {

/// False for NaN.
bool in_range(const OptionSpec& spec, double value) {
  return value >= spec.minimum && value <= spec.maximum;
}

std::string range_text(const OptionSpec& spec) {
  return exact_text(spec.minimum) + " to " + exact_text(spec.maximum);
}

bool has_range(OptionType type) {
  return type == OptionType::kInteger || type == OptionType::kNumber ||
         type == OptionType::kIntegers;
}

template <typename T>
std::optional<OptionValue> widened(std::optional<T> value) {
  if (!value) return std::nullopt;
  return OptionValue(std::move(*value));
}

/// Nullopt where the text is not of the option's type.
std::optional<OptionValue> parse_default(const OptionSpec& spec) {
  const std::string_view text = spec.default_value;
  switch (spec.type) {
    case OptionType::kFlag:
      if (text != "true" && text != "false") return std::nullopt;
      return OptionValue(text == "true");
    case OptionType::kInteger:
      return widened(parse_integer(text));
    case OptionType::kNumber:
      return widened(parse_number(text));
    case OptionType::kText:
      return OptionValue(std::string(text));
    case OptionType::kIntegers:
      return widened(parse_integers(text));
  }
  return std::nullopt;
}

/// The value as the option's own type (an integer stands for a number too), or nullopt where the
/// types differ.
std::optional<OptionValue> converted(const OptionSpec& spec, const OptionValue& value) {
  if (spec.type == OptionType::kNumber && std::holds_alternative<std::int64_t>(value)) {
    return OptionValue(static_cast<double>(std::get<std::int64_t>(value)));
  }
  // The variant's alternatives are in the order of OptionType.
  if (value.index() != static_cast<std::size_t>(spec.type)) return std::nullopt;
  return value;
}

/// What is wrong with a value of the right type: "is 40, allowed are 1 to 32"; "" if nothing is.
std::string disallowed(const OptionSpec& spec, const OptionValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    const auto choices = choices_of(spec);
    if (choices.empty() || std::find(choices.begin(), choices.end(), *text) != choices.end()) {
      return "";
    }
    return "is " + in_quotes(*text) + ", allowed are " + joined(choices);
  }
  if (const auto* number = std::get_if<double>(&value); number && !in_range(spec, *number)) {
    return "is " + exact_text(*number) + ", allowed are " + range_text(spec);
  }
  if (const auto* integer = std::get_if<std::int64_t>(&value);
      integer && !in_range(spec, static_cast<double>(*integer))) {
    return "is " + std::to_string(*integer) + ", allowed are " + range_text(spec);
  }
  if (const auto* items = std::get_if<std::vector<std::int64_t>>(&value)) {
    for (const std::int64_t item : *items) {
      if (!in_range(spec, static_cast<double>(item))) {
        return "holds " + std::to_string(item) + ", allowed are " + range_text(spec);
      }
    }
  }
  return "";
}

const char* type_phrase(OptionType type) {
  switch (type) {
    case OptionType::kFlag:
      return "true or false";
    case OptionType::kInteger:
      return "an integer";
    case OptionType::kNumber:
      return "a number";
    case OptionType::kText:
      return "a text in quotes";
    case OptionType::kIntegers:
      return "an array of integers";
  }
  return "?";
}

/// Problems of everything but the name and the default.
std::string bad_shape(const OptionSpec& spec) {
  if (static_cast<int>(spec.type) > static_cast<int>(OptionType::kIntegers))
    return "has an unknown type";
  if (spec.help == nullptr || *spec.help == '\0') return "has no help";
  if (has_range(spec.type) && !(spec.minimum <= spec.maximum)) {
    return "has an empty range, " + range_text(spec);
  }
  if (spec.type == OptionType::kText && spec.choices != nullptr) {
    const auto words = choices_of(spec);
    const std::set<std::string> unique(words.begin(), words.end());
    if (words.empty() || unique.count("") > 0) return "has an empty choice";
    if (unique.size() != words.size()) return "has a choice twice";
  }
  return "";
}

const GivenOption* find_given(const PluginChoice& choice, std::string_view name) {
  for (const auto& given : choice.options) {
    if (given.name == name) return &given;
  }
  return nullptr;
}

}  // namespace

bool is_snake_case(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !name.empty() && name[0] >= 'a' && name[0] <= 'z' &&
         std::all_of(name.begin(), name.end(), allowed);
}

std::vector<DeclaredOption> declare_options(std::span<const OptionSpec> specs,
                                            std::vector<std::string>& problems) {
  std::vector<DeclaredOption> declared;
  std::set<std::string_view> names;
  for (const auto& spec : specs) {
    if (spec.name == nullptr || !is_snake_case(spec.name)) {
      problems.push_back("option name " + in_quotes(spec.name ? spec.name : "") +
                         " is not snake_case");
      continue;
    }
    const std::string option = "option " + in_quotes(spec.name) + " ";
    if (std::string_view(spec.name) == "id") {
      problems.push_back(option + "is taken: it names the component");
    }
    if (!names.insert(spec.name).second) problems.push_back(option + "is declared twice");
    if (const auto problem = bad_shape(spec); !problem.empty()) {
      problems.push_back(option + problem);
      continue;
    }
    DeclaredOption entry{&spec, std::nullopt};
    if (spec.default_value != nullptr) {
      entry.default_value = parse_default(spec);
      if (!entry.default_value) {
        problems.push_back(option + "has the default " + in_quotes(spec.default_value) +
                           ", which is not " + type_phrase(spec.type));
      } else if (const auto problem = disallowed(spec, *entry.default_value); !problem.empty()) {
        problems.push_back(option + "has a bad default: it " + problem);
      }
    }
    declared.push_back(std::move(entry));
  }
  return declared;
}

std::string accepted_text(const OptionSpec& spec) {
  if (spec.type == OptionType::kText && spec.choices != nullptr) {
    return "one of " + joined(choices_of(spec));
  }
  std::string text = type_phrase(spec.type);
  if (has_range(spec.type)) {
    text += (spec.type == OptionType::kIntegers ? ", each " : ", ") + range_text(spec);
  }
  return text;
}

const char* to_string(OptionType type) {
  switch (type) {
    case OptionType::kFlag:
      return "flag";
    case OptionType::kInteger:
      return "integer";
    case OptionType::kNumber:
      return "number";
    case OptionType::kText:
      return "text";
    case OptionType::kIntegers:
      return "integers";
  }
  return "?";
}

std::vector<std::string> choices_of(const OptionSpec& spec) {
  if (spec.choices == nullptr || spec.type != OptionType::kText) return {};
  return split(spec.choices, '|');
}

std::string example_toml(const DeclaredOption& option) {
  const OptionSpec& spec = *option.spec;
  std::string value = spec.default_value != nullptr ? spec.default_value : "";
  if (spec.default_value == nullptr) {
    if (spec.type == OptionType::kFlag) value = "true";
    if (spec.type == OptionType::kIntegers) value = "[" + exact_text(spec.minimum) + "]";
    if (spec.type == OptionType::kInteger || spec.type == OptionType::kNumber) {
      value = exact_text(spec.minimum);
      // Widths at their least seldom fit together: a narrow range is met in the middle.
      if (spec.type == OptionType::kInteger && spec.maximum - spec.minimum <= 64) {
        value = exact_text(std::floor((spec.minimum + spec.maximum) / 2));
      }
      // Where the range spans decades, the power of ten in the middle of them.
      if (spec.type == OptionType::kNumber && spec.minimum > 0 &&
          spec.maximum / spec.minimum > 1e6) {
        const double middle = (std::log10(spec.minimum) + std::log10(spec.maximum)) / 2;
        value = exact_text(std::pow(10.0, std::round(middle)));
      }
    }
    if (const auto words = choices_of(spec); !words.empty()) value = words.front();
  }
  if (spec.type == OptionType::kText) value = "\"" + value + "\"";
  return std::string(spec.name) + " = " + value;
}

std::optional<CheckedOptions> CheckedOptions::check(const PluginChoice& choice,
                                                    std::span<const DeclaredOption> declared,
                                                    const std::string& component,
                                                    Diagnostics& diagnostics) {
  bool good = true;
  const auto refuse = [&](SourceRange where, std::string message, std::string hint) {
    diagnostics.add(where, std::move(message), std::move(hint));
    good = false;
  };

  std::vector<std::string> names;
  for (const auto& option : declared) names.emplace_back(option.spec->name);
  for (const auto& given : choice.options) {
    if (std::find(names.begin(), names.end(), given.name) != names.end()) continue;
    std::string hint = did_you_mean(given.name, names);
    if (hint.empty())
      hint = names.empty() ? "it has no options" : "its options are " + joined(names);
    refuse(given.name_where, "unknown option " + in_quotes(given.name) + " of " + component, hint);
  }

  CheckedOptions result;
  for (const auto& [spec, default_value] : declared) {
    const std::string option = "option " + in_quotes(spec->name) + " of " + component + " ";
    const GivenOption* given = find_given(choice, spec->name);
    if (given == nullptr) {
      if (!default_value) {
        refuse(choice.where, option + "is required: " + accepted_text(*spec), "");
      } else {
        result.values_.emplace(spec->name, *default_value);
      }
      continue;
    }
    const auto value = converted(*spec, given->value);
    if (!value) {
      refuse(given->value_where, option + "must be " + accepted_text(*spec), "");
      continue;
    }
    if (const auto problem = disallowed(*spec, *value); !problem.empty()) {
      const auto* text = std::get_if<std::string>(&*value);
      refuse(given->value_where, option + problem,
             text ? did_you_mean(*text, choices_of(*spec)) : "");
      continue;
    }
    result.values_.emplace(spec->name, *value);
  }
  if (!good) return std::nullopt;
  return result;
}

template <typename T>
const T& CheckedOptions::get(std::string_view name) const {
  const auto found = values_.find(name);
  if (found == values_.end())
    throw std::logic_error("option " + in_quotes(name) + " is not declared");
  const T* value = std::get_if<T>(&found->second);
  if (value == nullptr)
    throw std::logic_error("option " + in_quotes(name) + " is declared with another type");
  return *value;
}

bool CheckedOptions::flag(std::string_view name) const { return get<bool>(name); }

std::int64_t CheckedOptions::integer(std::string_view name) const {
  return get<std::int64_t>(name);
}

double CheckedOptions::number(std::string_view name) const { return get<double>(name); }

std::string_view CheckedOptions::text(std::string_view name) const {
  return get<std::string>(name);
}

std::span<const std::int64_t> CheckedOptions::integers(std::string_view name) const {
  return get<std::vector<std::int64_t>>(name);
}

}  // namespace bitfall
