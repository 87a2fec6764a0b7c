#include "head_report_text.h"

#include <cstdint>
#include <nlohmann/json.hpp>

#include "json_file.h"
#include "text_table.h"

namespace bitfall {
namespace {

using Json = nlohmann::ordered_json;

/// "1,561,089", "-487,911" with its sign.
std::string grouped(std::int64_t number, bool sign = false) {
  std::string digits = std::to_string(number < 0 ? -number : number);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return (number < 0 ? "-" : sign ? "+" : "") + digits;
}

// Null of a head that was made before it was recorded, or by another program.
Json plugin_json(const PluginOfHead& plugin) {
  if (plugin.name.empty()) return nullptr;
  return {{"name", plugin.name}, {"version", plugin.version}, {"sha256", plugin.sha256}};
}

}  // namespace

std::string head_report_text(const HeadReport& report) {
  std::string text = report.model.string() + ": ";
  if (report.card) {
    text += "head '" + report.card->init + "' at '" + report.module + "', " +
            std::to_string(report.features) + " features, " + std::to_string(report.classes) +
            " classes";
    if (!report.card->options.empty()) text += " (" + report.card->options + ")";
    if (const PluginOfHead& plugin = report.card->plugin; !plugin.name.empty()) {
      text += ", by plugin " + plugin.name + " " + plugin.version;
    }
  } else {
    text += "no head attached; its last layer is '" + report.module + "'";
  }
  TextTable layers({{"layer"},
                    {"kind"},
                    {"what it does"},
                    {"parameters", TextTable::kRight},
                    {"operations", TextTable::kRight},
                    {"trained"}});
  for (const HeadLayer& layer : report.layers) {
    layers.add({report.layers.size() == 1 ? report.module : report.module + "." + layer.name,
                to_string(layer.kind), layer.text(), grouped(layer.parameters()),
                grouped(report.vectors * operations_per_vector(layer)),
                layer.parameters() == 0 ? "-"
                : layer.trainable       ? "yes"
                                        : "no"});
  }
  TextTable costs({{""}, {"parameters", TextTable::kRight}, {"operations", TextTable::kRight}});
  costs.add({"this model", grouped(report.parameters), grouped(report.operations)});
  costs.add({"with one linear layer instead", grouped(report.baseline_parameters),
             grouped(report.baseline_operations)});
  costs.add({"difference", grouped(report.parameters - report.baseline_parameters, true),
             grouped(report.operations - report.baseline_operations, true)});
  return text + "\n\n" + layers.render() + "\n" + costs.render() +
         "\nOperations are multiply-accumulates of one image, of convolutions, linear layers and "
         "matrix products;\nlengths, divisions and scales are not counted.\n";
}

std::string head_report_json(const HeadReport& report) {
  Json layers = Json::array();
  for (const HeadLayer& layer : report.layers) {
    Json row = {{"name", layer.name},
                {"kind", to_string(layer.kind)},
                {"parameters", layer.parameters()},
                {"operations", report.vectors * operations_per_vector(layer)},
                {"trainable", layer.trainable}};
    if (layer.kind == HeadLayerKind::kLinear || layer.kind == HeadLayerKind::kDistance) {
      row["inputs"] = layer.inputs;
      row["outputs"] = layer.outputs;
      row["bias"] = !layer.bias.empty();
    }
    if (layer.kind == HeadLayerKind::kActivation) row["function"] = layer.function;
    if (layer.kind == HeadLayerKind::kDistance) row["factor"] = layer.factor;
    if (layer.kind == HeadLayerKind::kNormalise) row["epsilon"] = layer.epsilon;
    if (layer.kind == HeadLayerKind::kScale) row["log_factor"] = layer.log_factor;
    layers.push_back(std::move(row));
  }
  const Json document = {
      {"schema", "bitfall.head/1"},
      {"model", report.model.string()},
      {"module", report.module},
      {"init", report.card ? Json(report.card->init) : Json(nullptr)},
      {"options", report.card ? Json(report.card->options) : Json(nullptr)},
      {"plugin", report.card ? plugin_json(report.card->plugin) : Json(nullptr)},
      {"features", report.features},
      {"classes", report.classes},
      {"layers", layers},
      {"parameters", report.parameters},
      {"operations", report.operations},
      {"baseline",
       {{"parameters", report.baseline_parameters}, {"operations", report.baseline_operations}}},
      {"difference",
       {{"parameters", report.parameters - report.baseline_parameters},
        {"operations", report.operations - report.baseline_operations}}}};
  return json_text(document) + "\n";
}

}  // namespace bitfall
