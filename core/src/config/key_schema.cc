// The table of keys for other programs: as JSON, and as a JSON Schema for editors.
#include <nlohmann/json.hpp>

#include "json_file.h"
#include "key_table.h"

namespace bitfall {
namespace {

using Json = nlohmann::ordered_json;

const char* type_id(KeyType type) {
  switch (type) {
    case KeyType::kFlag:
      return "flag";
    case KeyType::kInteger:
      return "integer";
    case KeyType::kNumber:
      return "number";
    case KeyType::kText:
      return "text";
    case KeyType::kPath:
      return "path";
    case KeyType::kPaths:
      return "paths";
    case KeyType::kTexts:
      return "texts";
    case KeyType::kNumbers:
      return "numbers";
    case KeyType::kSize:
      return "size";
    case KeyType::kScale:
      return "scale";
    case KeyType::kComponent:
      return "component";
    case KeyType::kComponents:
      return "components";
    case KeyType::kTable:
      return "table";
    case KeyType::kNumberOrTable:
      return "number or table";
  }
  return "?";
}

/// Defaults in TOML are numbers, words in quotes and lists of these, which JSON writes alike; null
/// where there is none.
Json default_json(const KeySpec& key) {
  if (!key.default_value || key.default_value->empty()) return nullptr;
  return Json::parse(*key.default_value);
}

Json bound(double value, KeyType type) {
  if (!(value > -kUnbounded && value < kUnbounded)) return nullptr;
  if (type == KeyType::kInteger || type == KeyType::kSize) return static_cast<std::int64_t>(value);
  return value;
}

std::vector<std::string> choices_of(const KeySpec& key) {
  return {key.choices.begin(), key.choices.end()};
}

Json key_json(const KeySpec& key) {
  return {{"name", key.name},
          {"type", type_id(key.type)},
          {"required", !key.default_value.has_value()},
          {"default", default_json(key)},
          {"minimum", bound(key.minimum, key.type)},
          {"maximum", bound(key.maximum, key.type)},
          {"open", key.open},
          {"choices", choices_of(key)},
          {"help", key.help}};
}

Json keys_json(const KeyTable& table, std::string_view section) {
  Json keys = Json::array();
  for (const KeySpec& key : table.keys) {
    if (section == key.section) keys.push_back(key_json(key));
  }
  return keys;
}

void add_bounds(Json& schema, const KeySpec& key) {
  const char* const names[2][2] = {{"minimum", "maximum"},
                                   {"exclusiveMinimum", "exclusiveMaximum"}};
  const Json low = bound(key.minimum, key.type), high = bound(key.maximum, key.type);
  if (!low.is_null()) schema[names[key.open][0]] = low;
  if (!high.is_null()) schema[names[key.open][1]] = high;
}

Json bounded(const char* type, const KeySpec& key) {
  Json schema = {{"type", type}};
  add_bounds(schema, key);
  return schema;
}

Json array_of(Json items) { return {{"type", "array"}, {"items", std::move(items)}}; }
Json either(Json first, Json second) {
  return {{"anyOf", Json::array({std::move(first), std::move(second)})}};
}

const Json kText = {{"type", "string"}};

/// An id, or a table with it and the component's options.
Json component_schema() {
  return either(
      kText,
      {{"type", "object"}, {"required", Json::array({"id"})}, {"properties", {{"id", kText}}}});
}

Json section_schema(const KeyTable& table, std::string_view section, bool options);

Json value_schema(const KeyTable& table, const KeySpec& key) {
  switch (key.type) {
    case KeyType::kFlag:
      return {{"type", "boolean"}};
    case KeyType::kInteger:
      return bounded("integer", key);
    case KeyType::kNumber:
      return bounded("number", key);
    case KeyType::kText: {
      if (key.choices.empty()) return kText;
      Json schema = kText;
      schema["enum"] = choices_of(key);
      return schema;
    }
    case KeyType::kPath:
      return kText;
    case KeyType::kPaths:
    case KeyType::kTexts:
      return either(kText, array_of(kText));
    case KeyType::kNumbers:
      return array_of(bounded("number", key));
    case KeyType::kSize: {
      Json pair = array_of(bounded("integer", key));
      pair["minItems"] = pair["maxItems"] = 2;
      return either(bounded("integer", key), std::move(pair));
    }
    case KeyType::kScale:
      return either(bounded("number", key), {{"const", "1/255"}});
    case KeyType::kComponent:
      return component_schema();
    case KeyType::kComponents:
      return array_of(component_schema());
    case KeyType::kTable:
      return section_schema(table, std::string(key.section) + "." + key.name, false);
    case KeyType::kNumberOrTable:
      return either(bounded("number", key),
                    section_schema(table, std::string(key.section) + "." + key.name, false));
  }
  return Json::object();
}

/// options: a component's own keys stand beside those of the table.
Json section_schema(const KeyTable& table, std::string_view section, bool options) {
  Json properties = Json::object(), required = Json::array();
  for (const KeySpec& key : table.keys) {
    if (section != key.section) continue;
    Json& schema = properties[key.name] = value_schema(table, key);
    schema["description"] = key.help;
    if (const Json value = default_json(key); !value.is_null()) schema["default"] = value;
    if (!key.default_value) required.push_back(key.name);
  }
  Json schema = {{"type", "object"}, {"properties", std::move(properties)}};
  if (!required.empty()) schema["required"] = std::move(required);
  if (!options) schema["additionalProperties"] = false;
  return schema;
}

}  // namespace

std::string KeyTable::json() const {
  Json list = Json::array();
  for (const SectionSpec& section : sections) {
    list.push_back({{"name", section.name},
                    {"repeated", section.repeated},
                    {"required", section.required},
                    {"options", section.options},
                    {"help", section.help},
                    {"keys", keys_json(*this, section.name)}});
    for (const KeySpec& key : keys) {
      const bool inside = key.type == KeyType::kTable || key.type == KeyType::kNumberOrTable;
      if (!inside || std::string_view(section.name) != key.section) continue;
      const std::string inner = std::string(section.name) + "." + key.name;
      list.push_back({{"name", inner},
                      {"repeated", false},
                      {"required", false},
                      {"options", false},
                      {"help", key.help},
                      {"keys", keys_json(*this, inner)}});
    }
  }
  const Json document = {{"schema", "bitfall.config/1"}, {"file", file}, {"sections", list}};
  return json_text(document) + "\n";
}

std::string KeyTable::json_schema() const {
  Json properties = Json::object(), required = Json::array();
  for (const SectionSpec& section : sections) {
    Json schema = section_schema(*this, section.name, section.options);
    if (section.repeated) schema = array_of(std::move(schema));
    schema["description"] = section.help;
    properties[section.name] = std::move(schema);
    if (section.required) required.push_back(section.name);
  }
  const Json document = {{"$schema", "http://json-schema.org/draft-07/schema#"},
                         {"title", "Bitfall: " + std::string(file)},
                         {"type", "object"},
                         {"properties", std::move(properties)},
                         {"required", std::move(required)},
                         {"additionalProperties", false}};
  return json_text(document) + "\n";
}

}  // namespace bitfall
