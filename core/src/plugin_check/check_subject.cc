#include "check_subject.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "error.h"
#include "numbers.h"
#include "plugin_options.h"
#include "words.h"

namespace bitfall {
namespace {

/// A number of the option's range: the ends are as likely as what lies between.
double random_number(const OptionSpec& spec, RandomStream& random) {
  const double low = std::max(spec.minimum, -1e6), high = std::min(spec.maximum, 1e6);
  if (!(low <= high)) return spec.minimum;
  switch (random.below(4)) {
    case 0:
      return low;
    case 1:
      return high;
    default:
      return low + (high - low) * random.uniform();
  }
}

/// What fits the option's type and range; none for files and texts of any kind.
std::optional<OptionValue> random_value(const OptionSpec& spec, RandomStream& random) {
  const auto words = choices_of(spec);
  const auto word = [&] { return words[random.below(words.size())]; };
  const auto number = [&] { return random_number(spec, random); };
  const std::size_t count = random.below(4);  // of a list
  switch (spec.type) {
    case OptionType::kFlag:
      return OptionValue(random.below(2) == 1);
    case OptionType::kInteger:
      return OptionValue(static_cast<std::int64_t>(std::floor(number())));
    case OptionType::kNumber:
      return OptionValue(number());
    case OptionType::kText:
      if (words.empty()) return std::nullopt;
      return OptionValue(word());
    case OptionType::kIntegers: {
      std::vector<std::int64_t> items(count);
      for (auto& item : items) item = static_cast<std::int64_t>(std::floor(number()));
      return OptionValue(std::move(items));
    }
    case OptionType::kNumbers: {
      std::vector<double> items(count);
      for (auto& item : items) item = number();
      return OptionValue(std::move(items));
    }
    case OptionType::kTexts: {
      if (words.empty()) return std::nullopt;
      std::vector<std::string> items(count);
      for (auto& item : items) item = word();
      return OptionValue(std::move(items));
    }
    case OptionType::kFile:
      return std::nullopt;
  }
  return std::nullopt;
}

/// The ends of its range, each of its words.
std::vector<OptionValue> end_values(const OptionSpec& spec) {
  std::vector<OptionValue> values;
  switch (spec.type) {
    case OptionType::kFlag:
      return {OptionValue(false), OptionValue(true)};
    case OptionType::kInteger:
      for (const double end : {spec.minimum, spec.maximum}) {
        values.emplace_back(static_cast<std::int64_t>(end));
      }
      return values;
    case OptionType::kNumber:
      return {OptionValue(spec.minimum), OptionValue(spec.maximum)};
    case OptionType::kText:
      for (const std::string& word : choices_of(spec)) values.emplace_back(word);
      return values;
    case OptionType::kIntegers:
      for (const double end : {spec.minimum, spec.maximum}) {
        values.emplace_back(std::vector<std::int64_t>{static_cast<std::int64_t>(end)});
      }
      values.emplace_back(std::vector<std::int64_t>{});
      return values;
    case OptionType::kNumbers:
      for (const double end : {spec.minimum, spec.maximum}) {
        values.emplace_back(std::vector<double>{end});
      }
      values.emplace_back(std::vector<double>{});
      return values;
    case OptionType::kTexts:
      for (const std::string& word : choices_of(spec)) {
        values.emplace_back(std::vector<std::string>{word});
      }
      return values;
    case OptionType::kFile:
      return {};
  }
  return values;
}

/// A required option's value as `bitfall plugin info` shows it.
std::optional<OptionValue> shown_value(const DeclaredOption& option) {
  if (option.example) return option.example;
  const std::string line = example_toml(option);
  std::string_view text = std::string_view(line).substr(line.find('=') + 2);
  const bool quoted = text.size() >= 2 && text.front() == '"' && text.back() == '"';
  if (quoted) text = text.substr(1, text.size() - 2);
  return parse_declared(*option.spec, text);
}

GivenOption given_option(const std::string& name, OptionValue value) {
  return {name, std::move(value), {}, {}};
}

/// With one option set, whether it was before or not.
std::vector<GivenOption> with(std::vector<GivenOption> options, const std::string& name,
                              OptionValue value) {
  const auto same = [&](const GivenOption& option) { return option.name == name; };
  std::erase_if(options, same);
  options.push_back(given_option(name, std::move(value)));
  return options;
}

struct ValueText {
  std::string operator()(bool flag) const { return flag ? "true" : "false"; }
  std::string operator()(std::int64_t number) const { return std::to_string(number); }
  std::string operator()(double number) const { return exact_text(number); }
  std::string operator()(const std::string& text) const { return in_quotes(text); }
  std::string operator()(const std::vector<std::string>& texts) const {
    return "[" + quoted_list(texts) + "]";
  }
  template <typename T>
  std::string operator()(const std::vector<T>& items) const {
    std::vector<std::string> texts;
    for (const T& item : items) texts.push_back((*this)(item));
    return "[" + joined(texts) + "]";
  }
};

std::string value_text(const OptionValue& value) { return std::visit(ValueText(), value); }

}  // namespace

Subject::Subject(const PluginHost& host, const ComponentDescription& component,
                 const std::vector<std::string>& given, std::uint64_t seed, std::size_t classes)
    : host_(host), component_(component), seed_(seed), classes_(classes) {
  std::vector<std::string> problems;  // none: the host has refused a plugin that has one
  for (const DeclaredOption& option : declare_options(component.options, problems)) {
    if (option.default_value) continue;
    if (auto value = shown_value(option)) {
      base_.push_back(given_option(option.spec->name, *value));
    }
  }
  for (const std::string& text : given) {
    const auto equals = text.find('=');
    const std::string name(trimmed(text.substr(0, equals)));
    for (const OptionSpec& spec : component.options) {
      if (name != spec.name || equals == text.npos) continue;
      const auto value = parse_declared(spec, trimmed(std::string_view(text).substr(equals + 1)));
      if (!value) {
        throw Error(ExitCode::kUsage, "--options " + text + ": it must be " + accepted_text(spec));
      }
      base_ = with(base_, name, *value);
    }
  }
}

std::vector<std::vector<GivenOption>> Subject::variations() const {
  constexpr int kRandomEach = 3, kRandomTogether = 16;
  std::vector<std::vector<GivenOption>> sets;
  PhiloxStream stream = random(1);
  for (const OptionSpec& spec : component_.options) {
    std::vector<OptionValue> values = end_values(spec);
    for (int i = 0; i < kRandomEach; ++i) {
      if (auto value = random_value(spec, stream)) values.push_back(std::move(*value));
    }
    for (OptionValue& value : values) sets.push_back(with(base_, spec.name, std::move(value)));
  }
  for (int i = 0; i < kRandomTogether && component_.options.size() > 1; ++i) {
    std::vector<GivenOption> options = base_;
    for (const OptionSpec& spec : component_.options) {
      if (auto value = random_value(spec, stream)) {
        options = with(std::move(options), spec.name, std::move(*value));
      }
    }
    sets.push_back(std::move(options));
  }
  return sets;
}

std::string options_text(const std::vector<GivenOption>& options) {
  std::vector<std::string> texts;
  for (const GivenOption& option : options) {
    texts.push_back(option.name + " = " + value_text(option.value));
  }
  return texts.empty() ? "no options" : joined(texts);
}

}  // namespace bitfall
