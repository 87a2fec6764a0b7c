#include "head_report.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "program.h"
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

std::int64_t operations_of(const HeadLayer& layer) {
  return layer.kind == HeadLayerKind::kLinear ? layer.inputs * layer.outputs : 0;
}

}  // namespace

HeadReport head_report(const std::filesystem::path& model, std::array<std::int64_t, 3> input) {
  Program program(model, "cpu");
  const at::Tensor image = probe_images(1, input);
  program.specialise(image);
  HeadReport report;
  report.model = model;
  report.card = read_model_card(model).head;
  report.module =
      report.card ? report.card->module : find_last_linear(program, image, model).module;
  report.layers = read_head(model, report.module);
  bool bias = report.card && report.card->replaced_bias;
  std::int64_t once = 0;
  for (const HeadLayer& layer : report.layers) {
    once += operations_of(layer);
    if (layer.kind != HeadLayerKind::kLinear) continue;
    if (report.features == 0) report.features = layer.inputs;
    report.classes = layer.outputs;
    if (!report.card) bias = !layer.bias.empty();
  }
  const ModelCosts costs = model_costs(program, image);
  report.parameters = costs.parameters;
  report.operations = costs.operations;
  const std::int64_t linear = report.features * report.classes;
  report.baseline_parameters =
      report.parameters - parameter_count(report.layers) + linear + (bias ? report.classes : 0);
  const std::int64_t head_operations = costs_below(costs, report.module).operations;
  report.vectors = once > 0 ? std::max<std::int64_t>(1, head_operations / once) : 1;
  report.baseline_operations = report.operations - head_operations + report.vectors * linear;
  return report;
}

std::string head_report_text(const HeadReport& report) {
  std::string text = report.model.string() + ": ";
  if (report.card) {
    text += "head '" + report.card->init + "' at '" + report.module + "', " +
            std::to_string(report.features) + " features, " + std::to_string(report.classes) +
            " classes";
    if (!report.card->options.empty()) text += " (" + report.card->options + ")";
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
                grouped(report.vectors * operations_of(layer)),
                layer.kind == HeadLayerKind::kNormalise ? "-"
                : layer.trainable                       ? "yes"
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
                {"operations", report.vectors * operations_of(layer)},
                {"trainable", layer.trainable}};
    if (layer.kind == HeadLayerKind::kLinear) {
      row["inputs"] = layer.inputs;
      row["outputs"] = layer.outputs;
      row["bias"] = !layer.bias.empty();
    }
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
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace bitfall
