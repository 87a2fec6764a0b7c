#include "format_tables.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "json_file.h"
#include "register_bits.h"
#include "text_table.h"

namespace bitfall {
namespace {

using Json = nlohmann::ordered_json;

struct FormatRow {
  ComponentDescription component;
  std::unique_ptr<NumberFormat> format;  // null: it has required options, or was not loaded
  bool loaded;
};

/// In the order of the plugins, and within one as it registers them.
std::vector<FormatRow> format_rows(const PluginHost& host) {
  std::vector<FormatRow> rows;
  for (const ComponentDescription& component : host.components()) {
    if (component.kind != ComponentKind::kFormat) continue;
    bool needs_options = false;
    // To list a plugin is no reason to run its code.
    const bool loaded = host.plugins()[component.plugin].state == PluginState::kLoaded;
    for (const OptionSpec& option : component.options) {
      needs_options |= option.default_value == nullptr;
    }
    FormatRow row{component, nullptr, loaded};
    if (loaded && !needs_options) {
      Diagnostics diagnostics("formats", "");
      PluginChoice choice;
      choice.id = component.id;
      row.format = host.make_format(choice, diagnostics);
      diagnostics.throw_if_any();
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string or_dash(std::string text) { return text.empty() ? "-" : text; }

/// Whether all numbers of a format are float32 numbers, given that metadata stands for 1. A code of
/// 24 bits or fewer has no more significant bits than float32, so that only its range can pass it.
bool exact_in_float32(const NumberFormat& format) {
  if (format.exact()) return true;
  const FormatTraits traits = format.traits();
  const auto is_float32 = [](double number) {
    return static_cast<double>(static_cast<float>(number)) == number;
  };
  return format.registers()[0].bits <= 24 && is_float32(traits.largest) &&
         is_float32(traits.smallest);
}

std::string text_of(const char* text) { return text ? text : ""; }

/// A "|" would end the cell.
std::string cell(const std::string& text) {
  std::string escaped;
  for (const char c : or_dash(text)) escaped += c == '|' ? std::string("\\|") : std::string(1, c);
  return escaped;
}

std::vector<std::string> markdown_cells(const FormatRow& row) {
  std::vector<std::string> cells = {"`" + row.component.id + "`"};
  if (!row.format) {
    cells.resize(10, row.loaded ? "options" : "not loaded");
    return cells;
  }
  const FormatTraits traits = row.format->traits();
  cells.push_back(std::to_string(row.format->registers()[0].bits));
  for (const double number : {traits.largest, traits.smallest_normal, traits.smallest}) {
    cells.push_back(short_number(number));
  }
  for (const std::string& text :
       {text_of(traits.overflow), text_of(traits.nan), registers_text(*row.format, true),
        std::string(exact_in_float32(*row.format) ? "yes" : "no"), text_of(traits.oracle)}) {
    cells.push_back(cell(text));
  }
  return cells;
}

Json number_json(double value) { return value > 0 && std::isfinite(value) ? Json(value) : Json(); }

Json format_json(const FormatRow& row) {
  Json json = {{"id", row.component.id}, {"bits", nullptr}};
  Json metadata = Json::array();
  FormatTraits traits;
  if (row.format) {
    json["bits"] = row.format->registers()[0].bits;
    traits = row.format->traits();
    for (const Register& kind : row.format->registers().subspan(1)) {
      metadata.push_back({{"name", kind.name}, {"bits", kind.bits}});
    }
  }
  json["metadata"] = std::move(metadata);
  json["largest"] = number_json(traits.largest);
  json["smallest_normal"] = number_json(traits.smallest_normal);
  json["smallest"] = number_json(traits.smallest);
  json["overflow"] = text_of(traits.overflow);
  json["nan"] = text_of(traits.nan);
  json["exact_in_float32"] = row.format ? Json(exact_in_float32(*row.format)) : Json();
  json["oracle"] = text_of(traits.oracle);
  json["summary"] = row.component.summary;
  json["loaded"] = row.loaded;
  return json;
}

}  // namespace

std::string short_number(double value) {
  if (!(value > 0) || std::isinf(value)) return "-";
  char text[40];
  std::snprintf(text, sizeof text, "%.7g", value);
  const bool short_decimal = value >= 0.1 && value < 1e6 && std::strtod(text, nullptr) == value;
  if (short_decimal) return text;
  int exponent = 0;
  if (std::frexp(value, &exponent) == 0.5) return "2^" + std::to_string(exponent - 1);
  if (value >= 0.1 && value < 100) {
    std::snprintf(text, sizeof text, "%.3g", value);
    return text;
  }
  std::snprintf(text, sizeof text, "%.2e", value);
  // 3.39e38, 1.95e-3: without the plus and the zeros of printf.
  const std::string whole(text);
  const auto e = whole.find('e');
  return whole.substr(0, e + 1) + std::to_string(std::stoi(whole.substr(e + 1)));
}

std::string formats_text(const PluginHost& host) {
  TextTable table({{"id"}, {"bits", TextTable::kRight}, {"metadata"}, {"summary"}});
  bool all_loaded = true;
  for (const FormatRow& row : format_rows(host)) {
    const auto& format = row.format;
    all_loaded &= row.loaded;
    const char* none = row.loaded ? "-" : "*";
    table.add({row.component.id, format ? std::to_string(format->registers()[0].bits) : none,
               format ? or_dash(registers_text(*format, true)) : none, row.component.summary});
  }
  return table.render() +
         (all_loaded ? "" : "* of a plugin in the search path, whose code was not run\n");
}

std::string formats_json(const PluginHost& host) {
  Json document = {{"schema", "bitfall.formats/1"}, {"formats", Json::array()}};
  for (const FormatRow& row : format_rows(host)) document["formats"].push_back(format_json(row));
  return json_text(document) + "\n";
}

std::string formats_markdown(const PluginHost& host) {
  std::string text =
      "| id | bits | largest | smallest normal | smallest | overflow | NaN becomes | metadata | "
      "exact in float32 | compared with |\n";
  for (int i = 0; i < 10; ++i) text += "| --- ";
  text += "|\n";
  for (const FormatRow& row : format_rows(host)) {
    for (const std::string& part : markdown_cells(row)) text += "| " + part + " ";
    text += "|\n";
  }
  return text +
         "\nMagnitudes are those with metadata that stands for 1, and with the options' defaults; "
         "\"smallest\" counts subnormals. \"options\": decided by options that have no default. "
         "\"Exact in float32\": every number of the format is a float32 number, shown by its "
         "codes' "
         "having at most 24 bits (so no more significant bits than float32) and its largest and "
         "smallest numbers' being float32 numbers; `fp32` is float32 itself.\n";
}

}  // namespace bitfall
