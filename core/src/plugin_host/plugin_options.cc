#include "plugin_options.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>
#include <utility>

#include "numbers.h"
#include "words.h"

namespace bitfall {
namespace fs = std::filesystem;
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
         type == OptionType::kIntegers || type == OptionType::kNumbers;
}

bool is_list(OptionType type) {
  return type == OptionType::kIntegers || type == OptionType::kNumbers ||
         type == OptionType::kTexts;
}

template <typename T>
std::optional<OptionValue> widened(std::optional<T> value) {
  if (!value) return std::nullopt;
  return OptionValue(std::move(*value));
}

/// "['a', \"b\"]", without commas or quotes inside of the words.
std::optional<std::vector<std::string>> parse_texts(std::string_view text) {
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') return std::nullopt;
  std::vector<std::string> words;
  const std::string inside(trimmed(text.substr(1, text.size() - 2)));
  if (inside.empty()) return words;
  for (const std::string& item : split(inside, ',')) {
    const std::string_view word = trimmed(item);
    const bool quoted = word.size() >= 2 && word.front() == word.back() &&
                        (word.front() == '\'' || word.front() == '"');
    if (!quoted) return std::nullopt;
    words.emplace_back(word.substr(1, word.size() - 2));
  }
  return words;
}

std::optional<std::vector<double>> parse_numbers(std::string_view text) {
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') return std::nullopt;
  std::vector<double> numbers;
  const std::string inside(trimmed(text.substr(1, text.size() - 2)));
  if (inside.empty()) return numbers;
  for (const std::string& item : split(inside, ',')) {
    const auto number = parse_number(trimmed(item));
    if (!number) return std::nullopt;
    numbers.push_back(*number);
  }
  return numbers;
}

/// The value as the option's own type (integers stand for numbers too, an empty list for any), or
/// nullopt where the types differ.
std::optional<OptionValue> converted(const OptionSpec& spec, const OptionValue& value) {
  const auto* integers = std::get_if<std::vector<std::int64_t>>(&value);
  switch (spec.type) {
    case OptionType::kNumber:
      if (const auto* integer = std::get_if<std::int64_t>(&value)) {
        return OptionValue(static_cast<double>(*integer));
      }
      break;
    case OptionType::kNumbers:
      if (integers) return OptionValue(std::vector<double>(integers->begin(), integers->end()));
      break;
    case OptionType::kTexts:
      if (integers && integers->empty()) return OptionValue(std::vector<std::string>());
      break;
    case OptionType::kFile:
      if (!std::holds_alternative<std::string>(value)) return std::nullopt;
      return value;
    default:
      break;
  }
  if (value.index() != static_cast<std::size_t>(spec.type)) return std::nullopt;
  return value;
}

/// What is wrong with a value of the right type: "is 40, allowed are 1 to 32"; "" if nothing is.
std::string disallowed(const OptionSpec& spec, const OptionValue& value) {
  const auto outside = [&](const auto& number) {
    return in_range(spec, static_cast<double>(number))
               ? ""
               : exact_text(static_cast<double>(number)) + ", allowed are " + range_text(spec);
  };
  const auto unknown_word = [&](const std::string& word) {
    const auto choices = choices_of(spec);
    const bool known =
        choices.empty() || std::find(choices.begin(), choices.end(), word) != choices.end();
    return known ? "" : in_quotes(word) + ", allowed are " + joined(choices);
  };
  const auto first_of = [](const auto& items, const auto& problem_of) {
    for (const auto& item : items) {
      if (const std::string problem = problem_of(item); !problem.empty()) return "holds " + problem;
    }
    return std::string();
  };
  const auto is = [](const std::string& problem) { return problem.empty() ? "" : "is " + problem; };
  if (const auto* text = std::get_if<std::string>(&value)) return is(unknown_word(*text));
  if (const auto* number = std::get_if<double>(&value)) return is(outside(*number));
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return is(outside(*integer));
  if (const auto* items = std::get_if<std::vector<std::int64_t>>(&value)) {
    return first_of(*items, outside);
  }
  if (const auto* items = std::get_if<std::vector<double>>(&value)) {
    return first_of(*items, outside);
  }
  if (const auto* items = std::get_if<std::vector<std::string>>(&value)) {
    return first_of(*items, unknown_word);
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
    case OptionType::kNumbers:
      return "an array of numbers";
    case OptionType::kTexts:
      return "an array of texts in quotes";
    case OptionType::kFile:
      return "a file's path in quotes";
  }
  return "?";
}

/// Problems of everything but the name and the default.
std::string bad_shape(const OptionSpec& spec) {
  if (static_cast<int>(spec.type) > static_cast<int>(OptionType::kFile))
    return "has an unknown type";
  if (spec.help == nullptr || *spec.help == '\0') return "has no help";
  if (has_range(spec.type) && !(spec.minimum <= spec.maximum)) {
    return "has an empty range, " + range_text(spec);
  }
  const bool words_given = spec.type == OptionType::kText || spec.type == OptionType::kTexts;
  if (words_given && spec.choices != nullptr) {
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

std::optional<OptionValue> parse_declared(const OptionSpec& spec, std::string_view text) {
  switch (spec.type) {
    case OptionType::kFlag:
      if (text != "true" && text != "false") return std::nullopt;
      return OptionValue(text == "true");
    case OptionType::kInteger:
      return widened(parse_integer(text));
    case OptionType::kNumber:
      return widened(parse_number(text));
    case OptionType::kText:
    case OptionType::kFile:
      return OptionValue(std::string(text));
    case OptionType::kIntegers:
      return widened(parse_integers(text));
    case OptionType::kNumbers:
      return widened(parse_numbers(text));
    case OptionType::kTexts:
      return widened(parse_texts(text));
  }
  return std::nullopt;
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
    const auto read = [&](const char* text, const std::string& noun) {
      std::optional<OptionValue> value;
      if (text == nullptr) return value;
      value = parse_declared(spec, text);
      if (!value) {
        problems.push_back(option + "has the " + noun + " " + in_quotes(text) + ", which is not " +
                           type_phrase(spec.type));
      } else if (const auto problem = disallowed(spec, *value); !problem.empty()) {
        problems.push_back(option + "has a bad " + noun + ": it " + problem);
      }
      return value;
    };
    entry.default_value = read(spec.default_value, "default");
    entry.example = read(spec.example, "example");
    if (spec.type == OptionType::kFile && spec.default_value != nullptr &&
        *spec.default_value != '\0') {
      problems.push_back(option + "has a file as its default; only \"\", for none, can be one");
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
  if (spec.type == OptionType::kTexts && spec.choices != nullptr) {
    return text + ", each one of " + joined(choices_of(spec));
  }
  if (has_range(spec.type)) {
    text += (is_list(spec.type) ? ", each " : ", ") + range_text(spec);
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
    case OptionType::kNumbers:
      return "numbers";
    case OptionType::kTexts:
      return "texts";
    case OptionType::kFile:
      return "file";
  }
  return "?";
}

std::vector<std::string> choices_of(const OptionSpec& spec) {
  const bool words = spec.type == OptionType::kText || spec.type == OptionType::kTexts;
  if (spec.choices == nullptr || !words) return {};
  return split(spec.choices, '|');
}

std::string example_toml(const DeclaredOption& option) {
  const OptionSpec& spec = *option.spec;
  std::string value = spec.default_value != nullptr ? spec.default_value : "";
  if (spec.default_value == nullptr && spec.example != nullptr) {
    value = spec.example;
  } else if (spec.default_value == nullptr) {
    if (spec.type == OptionType::kFlag) value = "true";
    if (spec.type == OptionType::kFile) value = "FILE";
    if (spec.type == OptionType::kTexts) value = "['FIRST', 'SECOND']";
    if (spec.type == OptionType::kIntegers || spec.type == OptionType::kNumbers) {
      value = "[" + exact_text(spec.minimum) + "]";
    }
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
    if (const auto words = choices_of(spec); !words.empty()) {
      value = spec.type == OptionType::kText ? words.front() : "['" + words.front() + "']";
    }
  }
  if (spec.type == OptionType::kText || spec.type == OptionType::kFile) value = "\"" + value + "\"";
  return std::string(spec.name) + " = " + value;
}

std::optional<CheckedOptions> CheckedOptions::check(const PluginChoice& choice,
                                                    std::span<const DeclaredOption> declared,
                                                    const std::string& component, const Host& host,
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
  result.host_ = &host;
  for (const auto& [spec, default_value, example] : declared) {
    const std::string option = "option " + in_quotes(spec->name) + " of " + component + " ";
    const GivenOption* given = find_given(choice, spec->name);
    if (given == nullptr) {
      if (!default_value) {
        refuse(choice.where, option + "is required: " + accepted_text(*spec), "");
      } else {
        result.values_.emplace(spec->name, Value{spec->type, *default_value});
      }
      continue;
    }
    auto value = converted(*spec, given->value);
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
    const auto* const file =
        spec->type == OptionType::kFile ? &std::get<std::string>(*value) : nullptr;
    if (file && file->empty() &&
        (!default_value || !std::get<std::string>(*default_value).empty())) {
      refuse(given->value_where, option + "names no file", "");
      continue;
    }
    if (file && !file->empty()) {
      const fs::path path = fs::absolute(choice.folder / *file);
      std::error_code ignored;
      if (!fs::is_regular_file(path, ignored)) {
        refuse(given->value_where, option + "names " + path.string() + ", which is no file", "");
        continue;
      }
      result.files_.push_back({spec->name, path});
      *value = path.string();
    }
    result.values_.emplace(spec->name, Value{spec->type, std::move(*value)});
  }
  if (!good) return std::nullopt;
  for (auto& [name, value] : result.values_) {
    if (const auto* words = std::get_if<std::vector<std::string>>(&value.value)) {
      value.texts.assign(words->begin(), words->end());
    }
  }
  return result;
}

template <typename T>
const T& CheckedOptions::get(Text name, OptionType type) const {
  const auto found = values_.find(std::string_view(name));
  if (found == values_.end())
    throw std::logic_error("option " + in_quotes(name) + " is not declared");
  if (found->second.type != type) {
    throw std::logic_error("option " + in_quotes(name) + " is declared with another type");
  }
  return std::get<T>(found->second.value);
}

bool CheckedOptions::flag(Text name) const { return get<bool>(name, OptionType::kFlag); }

std::int64_t CheckedOptions::integer(Text name) const {
  return get<std::int64_t>(name, OptionType::kInteger);
}

double CheckedOptions::number(Text name) const { return get<double>(name, OptionType::kNumber); }

Text CheckedOptions::text(Text name) const { return get<std::string>(name, OptionType::kText); }

View<const std::int64_t> CheckedOptions::integers(Text name) const {
  return get<std::vector<std::int64_t>>(name, OptionType::kIntegers);
}

View<const double> CheckedOptions::numbers(Text name) const {
  return get<std::vector<double>>(name, OptionType::kNumbers);
}

View<const Text> CheckedOptions::texts(Text name) const {
  get<std::vector<std::string>>(name, OptionType::kTexts);  // throws where there is none
  return values_.find(std::string_view(name))->second.texts;
}

Text CheckedOptions::file(Text name) const { return get<std::string>(name, OptionType::kFile); }

}  // namespace bitfall
