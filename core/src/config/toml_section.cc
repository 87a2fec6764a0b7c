#include "toml_section.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <span>
#include <utility>

#include "numbers.h"
#include "words.h"

namespace bitfall {

namespace fs = std::filesystem;

SourceRange place(const toml::source_region& region) {
  SourceRange where;
  where.line = static_cast<int>(region.begin.line);
  where.column = static_cast<int>(region.begin.column);
  where.end_column = region.end.line == region.begin.line ? static_cast<int>(region.end.column)
                                                          : std::numeric_limits<int>::max();
  return where;
}

const char* found(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a float";
    case toml::node_type::boolean:
      return "a boolean";
    case toml::node_type::date:
      return "a date";
    case toml::node_type::time:
      return "a time";
    case toml::node_type::date_time:
      return "a date and time";
    case toml::node_type::none:
      break;
  }
  return "nothing";
}

std::optional<OptionValue> option_value(const toml::node& node) {
  if (const auto flag = node.value_exact<bool>()) return *flag;
  if (const auto integer = node.value_exact<std::int64_t>()) return *integer;
  if (const auto number = node.value_exact<double>()) return *number;
  if (auto text = node.value_exact<std::string>()) return std::move(*text);
  const toml::array* items = node.as_array();
  if (!items) return std::nullopt;
  const auto list_of = [&]<typename T>(T) -> OptionValue {
    std::vector<T> values;
    for (const toml::node& item : *items) values.push_back(*item.value<T>());
    return values;
  };
  const auto is_number = [](const toml::node& item) { return item.is_number(); };
  if (items->empty() || items->is_homogeneous<std::int64_t>()) return list_of(std::int64_t{});
  if (std::all_of(items->begin(), items->end(), is_number)) return list_of(double{});
  if (items->is_homogeneous<std::string>()) return list_of(std::string());
  return std::nullopt;
}

std::string choice_hint(std::string_view given, std::span<const std::string> known) {
  const std::string near = did_you_mean(given, known);
  return near.empty() ? "known: " + quoted_list(known) : near;
}

void Section::check_keys() const {
  std::vector<std::string> known;
  for (const KeySpec& key : keys_.keys) {
    if (section_ == key.section) known.emplace_back(key.name);
  }
  for (const auto& [key, node] : table_) {
    if (keys_.find(section_, key.str())) continue;
    diagnostics_.add(place(key),
                     "unknown key '" + std::string(key.str()) + "' in " + keys_.title(section_),
                     choice_hint(key.str(), known));
  }
}

void Section::check_required(SourceRange where) const {
  for (const KeySpec& key : keys_.keys) {
    if (section_ != key.section || key.default_value || has(key.name)) continue;
    diagnostics_.add(
        where, "missing key '" + std::string(key.name) + "' in " + keys_.title(section_), key.help);
  }
}

bool Section::in_range(const toml::node& node, const char* name, double value,
                       const std::string& shown) const {
  const KeySpec& key = *keys_.find(section_, name);
  const bool inside = key.open ? value > key.minimum && value < key.maximum
                               : value >= key.minimum && value <= key.maximum;
  if (!inside) report(place(node), name, "must be " + range_text(key) + ", found " + shown);
  return inside;
}

std::optional<std::int64_t> Section::integer(const toml::node& node, const char* name) const {
  const auto value = node.value_exact<std::int64_t>();
  if (!value) {
    report_type(node, name);
    return std::nullopt;
  }
  return in_range(node, name, static_cast<double>(*value), std::to_string(*value)) ? value
                                                                                   : std::nullopt;
}

std::optional<double> Section::number(const toml::node& node, const char* name) const {
  if (!node.is_number()) {
    report_type(node, name);
    return std::nullopt;
  }
  const double value = *node.value<double>();
  if (!std::isfinite(value)) {
    report(place(node), name, "must be a finite number, found " + short_text(value));
    return std::nullopt;
  }
  return in_range(node, name, value, short_text(value)) ? std::optional(value) : std::nullopt;
}

std::optional<std::string> Section::text(const toml::node& node, const char* name) const {
  auto value = node.value_exact<std::string>();
  if (!value) {
    report_type(node, name);
    return std::nullopt;
  }
  if (value->empty()) {
    report(place(node), name, "must not be empty");
    return std::nullopt;
  }
  const std::vector<std::string> words = choices(name);
  if (words.empty()) return value;
  if (std::find(words.begin(), words.end(), *value) != words.end()) return value;
  report(place(node), name, "must be one of " + quoted_list(words) + ", found " + in_quotes(*value),
         did_you_mean(*value, words));
  return std::nullopt;
}

std::vector<std::string> Section::choices(const char* name) const {
  const auto words = keys_.find(section_, name)->choices;
  return {words.begin(), words.end()};
}

std::optional<std::size_t> Section::choice(const char* name) const {
  const toml::node* node = table_.get(name);
  if (!node) return std::nullopt;
  const auto word = text(*node, name);
  if (!word) return std::nullopt;
  const std::vector<std::string> words = choices(name);
  return static_cast<std::size_t>(std::find(words.begin(), words.end(), *word) - words.begin());
}

std::optional<fs::path> Section::path(const toml::node& node, const char* name) const {
  const auto value = text(node, name);
  if (!value) return std::nullopt;
  if (value->find('\0') != std::string::npos) {
    report(place(node), name, "must not hold a NUL character");
    return std::nullopt;
  }
  return (folder_ / *value).lexically_normal();
}

std::vector<const toml::node*> Section::items(const toml::node& node) const {
  if (!node.is_array()) return {&node};
  std::vector<const toml::node*> nodes;
  for (const toml::node& item : *node.as_array()) nodes.push_back(&item);
  return nodes;
}

void Section::read(const char* name, bool& out) const {
  const toml::node* node = table_.get(name);
  if (!node) return;
  if (const auto value = node->value_exact<bool>()) {
    out = *value;
  } else {
    report_type(*node, name);
  }
}

void Section::read(const char* name, std::int64_t& out) const {
  if (const toml::node* node = table_.get(name)) out = integer(*node, name).value_or(out);
}

void Section::read(const char* name, std::optional<std::int64_t>& out) const {
  if (const toml::node* node = table_.get(name)) out = integer(*node, name);
}

void Section::read(const char* name, double& out) const {
  if (const toml::node* node = table_.get(name)) out = number(*node, name).value_or(out);
}

void Section::read(const char* name, std::optional<double>& out) const {
  if (const toml::node* node = table_.get(name)) out = number(*node, name);
}

void Section::read(const char* name, std::string& out) const {
  if (const toml::node* node = table_.get(name)) out = text(*node, name).value_or(out);
}

void Section::read(const char* name, fs::path& out) const {
  if (const toml::node* node = table_.get(name)) out = path(*node, name).value_or(out);
}

void Section::read(const char* name, std::vector<fs::path>& out) const {
  const toml::node* node = table_.get(name);
  if (!node) return;
  for (const toml::node* item : items(*node)) {
    if (const auto value = path(*item, name)) out.push_back(*value);
  }
}

void Section::read(const char* name, std::vector<std::string>& out,
                   std::vector<SourceRange>& where) const {
  const toml::node* node = table_.get(name);
  if (!node) return;
  if (node->is_array() && node->as_array()->empty()) {
    report(place(*node), name, "must not be empty");
    return;
  }
  std::vector<std::string> values;
  std::vector<SourceRange> places;
  for (const toml::node* item : items(*node)) {
    const auto value = text(*item, name);
    if (!value) continue;
    values.push_back(*value);
    places.push_back(place(*item));
  }
  if (values.empty()) return;
  out = std::move(values);
  where = std::move(places);
}

void Section::read(const char* name, std::vector<double>& out) const {
  const toml::node* node = table_.get(name);
  if (!node) return;
  out.clear();
  if (!node->is_array()) {
    report_type(*node, name);
    return;
  }
  for (const toml::node* item : items(*node)) {
    if (!item->is_number()) {
      report_type(*item, name);
    } else if (const auto value = number(*item, name)) {
      out.push_back(*value);
    }
  }
}

void Section::read(const char* name, PluginChoice& out) const {
  const toml::node* node = table_.get(name);
  if (!node) return;
  if (node->is_table()) {
    read_component(*node->as_table(), "'" + std::string(name) + "' in " + keys_.title(section_),
                   out);
  } else if (const auto id = text(*node, name)) {
    out = {*id, place(*node), {}, folder_};
  }
}

void Section::read(const char* name, std::vector<PluginChoice>& out) const {
  const toml::node* node = table_.get(name);
  if (!node) return;
  if (!node->is_array()) {
    report_type(*node, name);
    return;
  }
  out.clear();
  for (const toml::node* item : items(*node)) {
    PluginChoice choice;
    const std::string what = "'" + std::string(name) + "' in " + keys_.title(section_);
    if (item->is_table()) {
      if (!read_component(*item->as_table(), what, choice)) continue;
    } else if (const auto id = text(*item, name)) {
      choice = {*id, place(*item), {}, folder_};
    } else {
      continue;
    }
    // With other options it is another one.
    const auto same = [&](const PluginChoice& other) {
      return other.id == choice.id &&
             std::equal(other.options.begin(), other.options.end(), choice.options.begin(),
                        choice.options.end(), [](const GivenOption& a, const GivenOption& b) {
                          return a.name == b.name && a.value == b.value;
                        });
    };
    if (std::any_of(out.begin(), out.end(), same)) {
      report(choice.where, name,
             "lists '" + choice.id + "' twice" +
                 (choice.options.empty() ? "" : " with the same options"));
    } else {
      out.push_back(std::move(choice));
    }
  }
}

void Section::read_size(const char* name, std::optional<std::int64_t>& height,
                        std::optional<std::int64_t>& width) const {
  const toml::node* node = table_.get(name);
  if (!node) return;
  if (!node->is_array()) {
    height = integer(*node, name);
    width.reset();
    return;
  }
  const std::vector<const toml::node*> sides = items(*node);
  if (sides.size() != 2) {
    report(
        place(*node), name,
        "must be an integer or [height, width], found an array of " + std::to_string(sides.size()));
    return;
  }
  height = integer(*sides[0], name);
  width = integer(*sides[1], name);
}

void Section::read_scale(const char* name, double& out) const {
  const toml::node* node = table_.get(name);
  if (!node) return;
  if (const auto words = node->value_exact<std::string>()) {
    if (*words == "1/255") {
      out = 1.0 / 255.0;
    } else {
      report(place(*node), name, "must be a number or \"1/255\", found '" + *words + "'");
    }
    return;
  }
  out = number(*node, name).value_or(out);
}

bool Section::read_component(const toml::table& table, const std::string& what,
                             PluginChoice& out) const {
  PluginChoice choice;
  choice.folder = folder_;
  const toml::node* id = table.get("id");
  if (!id) {
    diagnostics_.add(place(table), "missing key 'id' in " + what,
                     "ids are listed by 'bitfall plugin list'");
    return false;
  }
  const auto value = id->value_exact<std::string>();
  if (!value || value->empty()) {
    diagnostics_.add(place(*id), "'id' in " + what + " must be " +
                                     (value ? "an id, found an empty string"
                                            : std::string("a string, found ") + found(*id)));
    return false;
  }
  choice.id = *value;
  choice.where = place(*id);
  for (const auto& [key, node] : table) {
    if (key.str() != "id") read_option(key, node, what, choice);
  }
  // toml++ keeps keys sorted by name; people want them as written.
  std::sort(choice.options.begin(), choice.options.end(), [](const auto& a, const auto& b) {
    return std::pair(a.name_where.line, a.name_where.column) <
           std::pair(b.name_where.line, b.name_where.column);
  });
  out = std::move(choice);
  return true;
}

void Section::read_option(const toml::key& key, const toml::node& node, const std::string& what,
                          PluginChoice& out) const {
  GivenOption option{std::string(key.str()), {}, place(key), place(node)};
  auto value = option_value(node);
  if (!value) {
    diagnostics_.add(place(node), "option '" + option.name + "' of " + what +
                                      " must be true or false, a number, a string or an array of "
                                      "numbers or of strings, found " +
                                      found(node));
    return;
  }
  option.value = std::move(*value);
  out.options.push_back(std::move(option));
}

std::optional<Section> Section::inner(const char* name) const {
  const toml::node* node = table_.get(name);
  if (!node) return std::nullopt;
  if (!node->is_table()) {
    report(place(*node), name, std::string("must be a table, found ") + found(*node));
    return std::nullopt;
  }
  Section section(keys_, *node->as_table(), section_ + "." + name, folder_, diagnostics_);
  section.check_keys();
  section.check_required(place(*node));
  return section;
}

}  // namespace bitfall
