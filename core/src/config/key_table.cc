#include "key_table.h"

#include "numbers.h"
#include "words.h"

namespace bitfall {
namespace {

/// The type's name without its article, for tables.
std::string table_type(const KeySpec& key) {
  if (key.choices.empty()) return to_string(key.type);
  const std::vector<std::string> words(key.choices.begin(), key.choices.end());
  return "`\"" + joined(words, "\"`, `\"") + "\"`";
}

std::string section_heading(const KeyTable& table, std::string_view name) {
  for (const SectionSpec& section : table.sections) {
    if (section.name == name) {
      const std::string text(name);
      return "`" + (section.repeated ? "[[" + text + "]]" : "[" + text + "]") +
             "`: " + section.help + (section.required ? " (required)" : "");
    }
  }
  const std::size_t dot = name.find('.');
  return "`" + std::string(name.substr(dot + 1)) + " = { ... }` in `" +
         table.title(name.substr(0, dot)) + "`";
}

}  // namespace

const char* to_string(KeyType type) {
  switch (type) {
    case KeyType::kFlag:
      return "true or false";
    case KeyType::kInteger:
      return "an integer";
    case KeyType::kNumber:
      return "a number";
    case KeyType::kText:
    case KeyType::kPath:
      return "a string";
    case KeyType::kPaths:
    case KeyType::kTexts:
      return "a string or an array of strings";
    case KeyType::kNumbers:
      return "an array of numbers";
    case KeyType::kSize:
      return "an integer or [height, width]";
    case KeyType::kScale:
      return "a number or \"1/255\"";
    case KeyType::kComponent:
      return "an id or a table with an id";
    case KeyType::kComponents:
      return "an array of ids or of tables with an id";
    case KeyType::kTable:
      return "a table";
    case KeyType::kNumberOrTable:
      return "a number or a table";
  }
  return "?";
}

const KeySpec* KeyTable::find(std::string_view section, std::string_view name) const {
  for (const KeySpec& key : keys) {
    if (section == key.section && name == key.name) return &key;
  }
  return nullptr;
}

std::string KeyTable::title(std::string_view section) const {
  const std::size_t dot = section.find('.');
  if (dot != std::string_view::npos) {
    return title(section.substr(0, dot)) + " " + std::string(section.substr(dot + 1));
  }
  for (const SectionSpec& spec : sections) {
    if (section == spec.name && spec.repeated) return "[[" + std::string(section) + "]]";
  }
  return "[" + std::string(section) + "]";
}

std::string toml_text(bool value) { return value ? "true" : "false"; }

std::string toml_text(std::int64_t value) { return std::to_string(value); }

std::string toml_text(double value) {
  std::string text = exact_text(value);
  if (text.find_first_of(".e") == text.npos) return text + ".0";
  // People write 1e-4, not 1e-04.
  const std::size_t zero = text.find("e-0");
  if (zero != text.npos) text.erase(zero + 2, 1);
  return text;
}

std::string toml_text(const char* value) { return toml_text(std::string(value)); }

std::string toml_text(const std::string& value) { return '"' + value + '"'; }

std::string toml_text(const std::vector<std::string>& values) {
  return values.empty() ? "[]" : "[\"" + joined(values, "\", \"") + "\"]";
}

std::string range_text(const KeySpec& key) {
  const bool low = key.minimum > -kUnbounded;
  const bool high = key.maximum < kUnbounded;
  const std::string minimum = short_text(key.minimum), maximum = short_text(key.maximum);
  if (low && high) {
    return key.open ? "greater than " + minimum + " and less than " + maximum
                    : "from " + minimum + " to " + maximum;
  }
  if (low) return (key.open ? "greater than " : "at least ") + minimum;
  if (high) return (key.open ? "less than " : "at most ") + maximum;
  return "";
}

std::string KeyTable::markdown() const {
  std::string out;
  std::string_view section;
  for (const KeySpec& key : keys) {
    if (section != key.section) {
      section = key.section;
      out += (out.empty() ? "" : "\n") + section_heading(*this, section) +
             "\n\n| key | value | default | what it does |\n| --- | --- | --- | --- |\n";
    }
    const std::string range = range_text(key);
    const std::string fallback = !key.default_value           ? "required"
                                 : key.default_value->empty() ? "unset"
                                                              : "`" + *key.default_value + "`";
    out += "| `" + std::string(key.name) + "` | " + table_type(key) +
           (range.empty() ? "" : ", " + range) + " | " + fallback + " | " + key.help + " |\n";
  }
  return out;
}

}  // namespace bitfall
