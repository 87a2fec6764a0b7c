#include "head_report.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "program.h"

namespace bitfall {

std::int64_t operations_per_vector(const HeadLayer& layer) {
  const bool matrix =
      layer.kind == HeadLayerKind::kLinear || layer.kind == HeadLayerKind::kDistance;
  return matrix ? layer.inputs * layer.outputs : 0;
}

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
    once += operations_per_vector(layer);
    if (operations_per_vector(layer) == 0) continue;
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

}  // namespace bitfall
