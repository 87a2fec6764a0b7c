#include "plugin_tables.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>

#include "error.h"
#include "json_file.h"
#include "plugin_note.h"
#include "plugin_options.h"
#include "text_table.h"
#include "words.h"

namespace bitfall {
namespace {

using Json = nlohmann::ordered_json;

/// By kind, then by id.
std::vector<ComponentDescription> sorted_components(const PluginHost& host) {
  std::vector<ComponentDescription> sorted = host.components();
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return std::pair(a.kind, a.id) < std::pair(b.kind, b.id);
  });
  return sorted;
}

std::string qualified(const ComponentDescription& component) {
  return std::string(to_string(component.kind)) + "/" + component.id;
}

/// With its plugin loaded.
const ComponentDescription& find_component(const PluginHost& host, std::string_view name) {
  std::vector<std::string> known;
  std::vector<ComponentDescription> found;
  for (const auto& component : sorted_components(host)) {
    known.push_back(component.id);
    known.push_back(qualified(component));
    if (name == component.id || name == qualified(component)) found.push_back(component);
  }
  if (found.empty()) {  // the short form: without the group
    for (const auto& component : sorted_components(host)) {
      const std::string short_id = component.id.substr(component.id.find('/') + 1);
      if (name == short_id || name == std::string(to_string(component.kind)) + "/" + short_id) {
        found.push_back(component);
      }
    }
  }
  if (found.empty()) {
    std::string hint = did_you_mean(name, known);
    if (hint.empty()) hint = "see 'bitfall plugin list'";
    for (const RefusedPlugin& file : host.refused()) {
      hint += "\n  " + file.path.string() + " is left out: " + file.reason;
    }
    throw Error(ExitCode::kUsage, "there is no component " + in_quotes(name) + "; " + hint);
  }
  if (found.size() > 1) {
    std::string names;
    for (const auto& component : found)
      names += (names.empty() ? "" : " or ") + qualified(component);
    throw Error(ExitCode::kUsage,
                "'" + std::string(name) + "' names several components: say " + names);
  }
  const auto* loaded = host.find(found[0].kind, found[0].id);
  if (loaded != nullptr) return *loaded;
  const RefusedPlugin& refused = host.refused().back();
  throw Error(ExitCode::kPlugin,
              "plugin " + refused.path.string() + " is refused: " + refused.reason);
}

std::vector<DeclaredOption> declared_options(const ComponentDescription& component) {
  std::vector<std::string> problems;  // none: the host refuses a plugin that has one
  return declare_options(component.options, problems);
}

std::string inline_table(const ComponentDescription& component,
                         const std::vector<DeclaredOption>& options) {
  std::string text = "{ id = \"" + component.id + "\"";
  for (const auto& option : options) text += ", " + example_toml(option);
  return text + " }";
}

/// A piece of a campaign file, or a command, that uses the component with every option spelled out.
std::string example_use(const ComponentDescription& component) {
  const auto options = declared_options(component);
  std::string text;
  switch (component.kind) {
    case ComponentKind::kFormat:
      text = "[format]\nid = \"" + component.id + "\"\n";
      for (const auto& option : options) text += example_toml(option) + "\n";
      break;
    case ComponentKind::kErrorModel:
      text = "[[faults]]\nerror_model = " + inline_table(component, options) + "\n";
      break;
    case ComponentKind::kMetric:
      text = "[metrics]\nids = [" +
             (options.empty() ? "\"" + component.id + "\"" : inline_table(component, options)) +
             "]\n";
      break;
    case ComponentKind::kHeadInit:
      text = "bitfall head attach backbone.pt -o model.pt --init " + component.id;
      for (const auto& option : options) text += " \\\n  --set '" + example_toml(option) + "'";
      text += "\n";
      break;
    case ComponentKind::kProtection:
      text = "[[protect]]\nprotection = " + inline_table(component, options) + "\n";
      break;
  }
  return text;
}

/// Nothing for a plugin of the program's own, which needs no path.
std::string plugin_path_use(const PluginDescription& plugin) {
  if (comes_with_the_program(plugin.path)) return "";
  return "[plugins]\npaths = [\"" + plugin.path.string() + "\"]\n\n";
}

std::string indented(const std::string& text) {
  std::string result;
  for (std::size_t start = 0; start < text.size();) {
    const auto end = std::min(text.find('\n', start), text.size());
    const std::string line = text.substr(start, end - start);
    result += (line.empty() ? "" : "  " + line) + "\n";
    start = end + 1;
  }
  return result;
}

/// An instance with default options, to ask what it has; null where an option is required.
template <typename Interface>
std::unique_ptr<Interface> default_instance(const PluginHost& host,
                                            const ComponentDescription& component) {
  for (const auto& spec : component.options) {
    if (spec.default_value == nullptr) return nullptr;
  }
  PluginChoice choice;
  choice.id = component.id;
  Diagnostics diagnostics("", "");
  if constexpr (std::is_same_v<Interface, NumberFormat>) {
    return host.make_format(choice, diagnostics);
  } else {
    return host.make_metric(choice, diagnostics);
  }
}

/// From the most significant bit down: "1 sign, 5 exponent, 10 mantissa".
std::string bit_classes_text(std::span<const BitClass> classes) {
  std::string text;
  for (std::size_t i = classes.size(); i > 0;) {
    const BitClass bit_class = classes[i - 1];
    int bits = 0;
    for (; i > 0 && classes[i - 1] == bit_class; --i) ++bits;
    text += (text.empty() ? "" : ", ") + std::to_string(bits) + " " + to_string(bit_class);
  }
  return text;
}

std::string option_text(const DeclaredOption& option) {
  const OptionSpec& spec = *option.spec;
  const std::string head =
      option.default_value ? example_toml(option) : std::string(spec.name) + " (required)";
  return "  " + head + "\n      " + spec.help + "\n      " + accepted_text(spec) + "\n";
}

/// The registers of a format or the columns of a metric.
std::string contents_text(const PluginHost& host, const ComponentDescription& component) {
  std::string text;
  if (component.kind == ComponentKind::kFormat) {
    if (const auto format = default_instance<NumberFormat>(host, component)) {
      text += "\nregisters\n";
      for (const auto& reg : format->registers()) {
        text += "  " + std::string(reg.name) + ": " + std::to_string(reg.bits) + " bits (" +
                bit_classes_text(reg.bit_classes) + ")\n";
      }
    }
  }
  if (component.kind == ComponentKind::kMetric) {
    if (const auto metric = default_instance<Metric>(host, component)) {
      text += "\ncolumns\n";
      for (const auto& column : metric->columns()) {
        text += "  " + std::string(column.name) + " (" +
                (column.kind == ColumnKind::kEvent ? "event"
                                                   : "quantity, " + std::string(column.unit)) +
                ")\n      " + column.help + "\n";
      }
    }
  }
  return text;
}

Json contents_json(const PluginHost& host, const ComponentDescription& component) {
  Json items = Json::array();
  if (component.kind == ComponentKind::kFormat) {
    if (const auto format = default_instance<NumberFormat>(host, component)) {
      for (const auto& reg : format->registers()) {
        Json classes = Json::array();
        for (const BitClass bit_class : reg.bit_classes) classes.push_back(to_string(bit_class));
        items.push_back({{"name", reg.name}, {"bits", reg.bits}, {"bit_classes", classes}});
      }
    }
  }
  if (component.kind == ComponentKind::kMetric) {
    if (const auto metric = default_instance<Metric>(host, component)) {
      for (const auto& column : metric->columns()) {
        items.push_back({{"name", column.name},
                         {"kind", column.kind == ColumnKind::kEvent ? "event" : "quantity"},
                         {"unit", column.unit},
                         {"help", column.help}});
      }
    }
  }
  return items;
}

Json option_json(const DeclaredOption& option) {
  const OptionSpec& spec = *option.spec;
  Json json = {{"name", spec.name},
               {"type", to_string(spec.type)},
               {"required", !option.default_value},
               {"help", spec.help}};
  if (option.default_value) {
    std::visit([&](const auto& value) { json["default"] = value; }, *option.default_value);
  }
  if (option.example) {
    std::visit([&](const auto& value) { json["example"] = value; }, *option.example);
  }
  const bool ranged = spec.type == OptionType::kInteger || spec.type == OptionType::kNumber ||
                      spec.type == OptionType::kIntegers || spec.type == OptionType::kNumbers;
  if (ranged) {
    json["minimum"] = spec.minimum;
    json["maximum"] = spec.maximum;
  }
  if (const auto choices = choices_of(spec); !choices.empty()) json["choices"] = choices;
  return json;
}

/// What a plugin tells of itself beyond its summary, in the order of bitfall::About.
std::vector<std::pair<const char*, std::string>> further(const PluginDescription& plugin) {
  std::vector<std::pair<const char*, std::string>> told = {
      {"group", plugin.group},
      {"licence", plugin.licence},
      {"url", plugin.url},
      {"cite", plugin.cite},
      {"compiler", plugin.compiler},
      {"standard_library", plugin.standard_library},
      {"needs", needs_text(library_needs(plugin.path))}};
  std::erase_if(told, [](const auto& entry) { return entry.second.empty(); });
  return told;
}

/// A plugin may say anything in its texts; a byte that is no UTF-8 must not stop the listing.

}  // namespace

std::string plugin_list_text(const PluginHost& host) {
  TextTable table({{"kind"}, {"id"}, {"summary"}, {"plugin"}, {"version"}});
  for (const auto& component : sorted_components(host)) {
    const auto& plugin = host.plugins()[component.plugin];
    table.add(
        {to_string(component.kind), component.id, component.summary, plugin.name, plugin.version});
  }
  if (host.refused().empty()) return table.render();
  // A table of its own, the reason last: one long reason would push every component's plugin off
  // the screen.
  TextTable refused_files({{"refused file"}, {"reason"}});
  for (const auto& refused : host.refused()) {
    refused_files.add({refused.path.string(), refused.reason});
  }
  return table.render() + "\n" + refused_files.render();
}

std::string plugin_list_json(const PluginHost& host) {
  Json document = {{"schema", "bitfall.plugin_list/1"},
                   {"components", Json::array()},
                   {"plugins", Json::array()},
                   {"refused", Json::array()}};
  for (const auto& component : sorted_components(host)) {
    const auto& plugin = host.plugins()[component.plugin];
    document["components"].push_back({{"kind", to_string(component.kind)},
                                      {"id", component.id},
                                      {"summary", component.summary},
                                      {"plugin", plugin.name},
                                      {"version", plugin.version}});
  }
  for (const auto& plugin : host.plugins()) {
    if (plugin.state == PluginState::kRefused) continue;
    document["plugins"].push_back({{"name", plugin.name},
                                   {"version", plugin.version},
                                   {"summary", plugin.summary},
                                   {"path", plugin.path.string()},
                                   {"sha256", plugin.sha256},
                                   {"loaded", plugin.state == PluginState::kLoaded}});
    for (const auto& [key, value] : further(plugin)) document["plugins"].back()[key] = value;
  }
  for (const auto& refused : host.refused()) {
    document["refused"].push_back({{"path", refused.path.string()}, {"reason", refused.reason}});
  }
  return json_text(document) + "\n";
}

std::string plugin_info_text(const PluginHost& host, std::string_view name) {
  const auto& component = find_component(host, name);
  const auto& plugin = host.plugins()[component.plugin];
  std::string text = qualified(component) + "\n  " + component.summary + "\n\nplugin\n  " +
                     plugin.name + " " + plugin.version + ": " + plugin.summary + "\n  " +
                     plugin.path.string() + "\n  sha256 " + plugin.sha256 + "\n";
  for (const auto& [key, value] : further(plugin)) {
    text += "  " +
            (key == std::string("standard_library") ? std::string("standard library") : key) + " " +
            value + "\n";
  }
  text += contents_text(host, component);
  const auto options = declared_options(component);
  text += options.empty() ? "\nno options\n" : "\noptions\n";
  for (const auto& option : options) text += option_text(option);
  const bool command = component.kind == ComponentKind::kHeadInit;
  std::string use = example_use(component);
  if (!command) use = plugin_path_use(plugin) + use;
  return text + (command ? "\non the command line\n" : "\nin a campaign file\n") + indented(use);
}

std::string plugin_info_json(const PluginHost& host, std::string_view name) {
  const auto& component = find_component(host, name);
  const auto& plugin = host.plugins()[component.plugin];
  Json options = Json::array();
  for (const auto& option : declared_options(component)) options.push_back(option_json(option));
  Json document = {{"schema", "bitfall.plugin_info/1"},
                   {"kind", to_string(component.kind)},
                   {"id", component.id},
                   {"summary", component.summary},
                   {"plugin", plugin.name},
                   {"version", plugin.version},
                   {"path", plugin.path.string()},
                   {"sha256", plugin.sha256}};
  for (const auto& [key, value] : further(plugin)) document[key] = value;
  if (component.kind == ComponentKind::kFormat) {
    document["registers"] = contents_json(host, component);
  }
  if (component.kind == ComponentKind::kMetric)
    document["columns"] = contents_json(host, component);
  document["options"] = std::move(options);
  document[component.kind == ComponentKind::kHeadInit ? "command" : "toml"] =
      example_use(component);
  return json_text(document) + "\n";
}

}  // namespace bitfall
