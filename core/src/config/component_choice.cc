#include "component_choice.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "error.h"
#include "toml_file.h"
#include "words.h"

namespace bitfall {
namespace {

/// In TOML, but quotes around text are optional: the shell eats them. What is not TOML stays text,
/// for the host to refuse.
OptionValue option_value(OptionType type, std::string_view text) {
  const bool bare_text =
      type == OptionType::kText && !text.starts_with('"') && !text.starts_with('\'');
  auto value = bare_text ? std::nullopt : parse_option(text);
  return value ? std::move(*value) : OptionValue(std::string(text));
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
