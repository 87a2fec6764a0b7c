#include "head_exchange.h"

#include <ATen/ATen.h>

#include "atomic_file.h"
#include "error.h"
#include "head_report_text.h"
#include "json_file.h"
#include "model.h"
#include "output.h"
#include "program.h"

namespace bitfall {
namespace {

void prove_runs(const Program& program, const std::filesystem::path& model,
                std::array<std::int64_t, 3> input) {
  try {
    program.forward(at::zeros({2, input[0], input[1], input[2]}));
  } catch (const std::exception& error) {
    throw input_misfit(model,
                       "2x" + std::to_string(input[0]) + "x" + std::to_string(input[1]) + "x" +
                           std::to_string(input[2]),
                       error);
  }
}

LastLinear place_of(const std::filesystem::path& model, const HeadCard& card) {
  const Head layers = read_head(model, card.module);
  LastLinear place{card.module, 0, 0, card.replaced_bias};
  for (const HeadLayer& layer : layers) {
    if (layer.kind != HeadLayerKind::kLinear) continue;
    if (place.features == 0) place.features = layer.inputs;
    place.classes = layer.outputs;
  }
  return place;
}

}  // namespace

void prove_runs(const std::filesystem::path& model, std::array<std::int64_t, 3> input) {
  prove_runs(Program(model, "cpu"), model, input);
}

LastLinear head_place(const std::filesystem::path& model, const ModelCard& card,
                      std::array<std::int64_t, 3> input) {
  Program program(model, "cpu");
  prove_runs(program, model, input);
  if (card.head) return place_of(model, *card.head);
  const at::Tensor images = probe_images(2, input);
  program.specialise(images);
  return find_last_linear(program, images, model);
}

void write_checked(const std::filesystem::path& from, const std::string& module, const Head& layers,
                   const nlohmann::ordered_json& card, std::array<std::int64_t, 3> input,
                   const std::filesystem::path& to) {
  if (const auto folder = std::filesystem::absolute(to).parent_path();
      !std::filesystem::is_directory(folder)) {
    throw Error(ExitCode::kUsage, "-o " + to.string() + ": there is no folder " + folder.string());
  }
  replace_file(to, [&](const std::filesystem::path& unproven) {
    replace_head(from, module, layers, json_text(card), unproven);
    prove_runs(Program(unproven, "cpu"), to, input);
  });
}

void print_head(const std::filesystem::path& model, std::array<std::int64_t, 3> input, bool json) {
  const HeadReport report = head_report(model, input);
  print_result("%s", json ? head_report_json(report).c_str() : head_report_text(report).c_str());
}

}  // namespace bitfall
