// bitfall head attach, fuse, info.
#include <ATen/ATen.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "atomic_file.h"
#include "class_names.h"
#include "commands.h"
#include "component_choice.h"
#include "error.h"
#include "head_module.h"
#include "head_report.h"
#include "log.h"
#include "model.h"
#include "model_card.h"
#include "plugin_host.h"
#include "program.h"
#include "sha256.h"
#include "tensor_file.h"

namespace bitfall {
namespace {

using Json = nlohmann::ordered_json;

std::string joined(const std::vector<std::string>& texts) {
  std::string text;
  for (const std::string& part : texts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

/// Throws where the output would take the place of one of the files that are read, or of what is no
/// file.
void prove_output(const std::filesystem::path& output,
                  std::initializer_list<std::filesystem::path> inputs) {
  prove_replaceable(output);
  for (const std::filesystem::path& input : inputs) {
    if (std::error_code absent; !std::filesystem::equivalent(input, output, absent)) continue;
    throw Error(ExitCode::kUsage, "-o " + output.string() + ": is read as " + input.string() +
                                      "; give another name to write to");
  }
}

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

/// Writes the layers in the place of `module`, then runs the new model once: what cannot run is not
/// left behind under its name.
void write_checked(const std::filesystem::path& from, const std::string& module, const Head& layers,
                   const Json& card, std::array<std::int64_t, 3> input,
                   const std::filesystem::path& to) {
  if (const auto folder = std::filesystem::absolute(to).parent_path();
      !std::filesystem::is_directory(folder)) {
    throw Error(ExitCode::kUsage, "-o " + to.string() + ": there is no folder " + folder.string());
  }
  std::filesystem::path unproven = to;
  unproven += ".unproven";
  try {
    replace_head(from, module, layers, card.dump(2, ' ', false, Json::error_handler_t::replace),
                 unproven);
    prove_runs(Program(unproven, "cpu"), to, input);
    std::filesystem::rename(unproven, to);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(unproven, ignored);
    throw;
  }
}

/// Where a head stands that was attached before: the whole of it is replaced.
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

void print(const HeadReport& report, bool json) {
  std::printf("%s", json ? head_report_json(report).c_str() : head_report_text(report).c_str());
}

}  // namespace

int head_attach_command(const HeadAttachOptions& options) {
  const EmbeddingFiles& files = options.embeddings;
  prove_output(options.output,
               {options.backbone, options.classes, files.table, files.classes, files.map});
  PluginHost host;
  load_plugins(host, options.plugins);
  Diagnostics diagnostics("--init", "");
  const auto init = host.make_head_init(
      component_choice(host, ComponentKind::kHeadInit, options.init, options.set), diagnostics);
  diagnostics.throw_if_any();

  const ModelCard known = read_model_card(options.backbone);
  const auto input = input_shape(known, options.input);
  Program program(options.backbone, "cpu");
  prove_runs(program, options.backbone, input);
  const at::Tensor images = probe_images(2, input);
  program.specialise(images);
  const std::optional<HeadCard>& old = known.head;
  const LastLinear last =
      old ? place_of(options.backbone, *old) : find_last_linear(program, images, options.backbone);

  std::vector<std::string> classes = known.classes;
  if (!options.classes.empty()) classes = read_class_names(options.classes);
  const bool named = !classes.empty();
  if (!named && !init->needs_embeddings()) {
    for (std::int64_t i = 0; i < last.classes; ++i) classes.push_back(std::to_string(i));
  }
  if (classes.empty()) {
    throw Error(ExitCode::kUsage, options.backbone.string() +
                                      ": records no class names, so that rows of embeddings cannot "
                                      "be told apart; give --classes FILE, the names in the order "
                                      "of the answer");
  }
  EmbeddingTable table;
  Json embeddings;
  if (init->needs_embeddings()) {
    if (options.embeddings.table.empty()) {
      throw Error(ExitCode::kUsage, "--init " + options.init +
                                        " needs --embeddings FILE (.npy, .safetensors or .pth; "
                                        "scripts/embed_text.py makes one)");
    }
    try {
      table = class_embeddings(options.embeddings, classes);
    } catch (const Error& error) {
      if (!options.classes.empty()) throw;
      throw Error(error.code(), std::string(error.what()) + "\n  the " +
                                    std::to_string(classes.size()) + " classes are those that " +
                                    options.backbone.string() +
                                    " records; --classes FILE names others");
    }
    embeddings = {{"file", options.embeddings.table.filename().string()},
                  {"sha256", sha256_file(options.embeddings.table)},
                  {"width", table.width}};
  } else if (!options.embeddings.table.empty()) {
    throw Error(ExitCode::kUsage, "--embeddings: --init " + options.init +
                                      (options.set.empty() ? "" : " " + joined(options.set)) +
                                      " reads none");
  }
  const Head layers =
      build_head(*init, last.features, classes, table.values, table.width, options.seed);

  Json card = model_card_json(options.backbone);
  card.erase("trained");  // the backbone's, not this model's
  card["input"] = {input[0], input[1], input[2]};
  if (named) card["classes"] = classes;
  card["head"] = {
      {"module", last.module},          {"init", options.init},
      {"options", joined(options.set)}, {"seed", options.seed},
      {"replaced_bias", last.bias},     {"backbone_sha256", sha256_file(options.backbone)}};
  if (!embeddings.is_null()) card["head"]["embeddings"] = embeddings;
  write_checked(options.backbone, last.module, layers, card, input, options.output);
  log_info((old ? "replaced the head '" + old->init + "' at '" : "found the last linear layer '") +
           last.module + "', " + std::to_string(last.features) + " -> " +
           std::to_string(last.classes) + (!old && last.bias ? ", with bias" : "") + "; wrote " +
           options.output.string());
  print(head_report(options.output, input), options.json);
  return 0;
}

int head_fuse_command(const HeadFuseOptions& options) {
  prove_output(options.output, {options.model});
  const ModelCard known = read_model_card(options.model);
  const std::optional<HeadCard>& head = known.head;
  if (!head) {
    throw Error(ExitCode::kInput, options.model.string() +
                                      ": has no head that `bitfall head attach` made; there is "
                                      "nothing to fuse");
  }
  const Head layers = read_head(options.model, head->module);
  if (layers.size() == 1) {
    throw Error(ExitCode::kInput,
                options.model.string() + ": its head is one layer already, '" + head->module + "'");
  }
  const auto name = head->module.substr(head->module.rfind('.') + 1);
  Json card = model_card_json(options.model);
  card["head"]["fused"] = true;
  const auto input = input_shape(known, options.input);
  write_checked(options.model, head->module, {fused(layers, name)}, card, input, options.output);
  log_info("wrote " + options.output.string());
  print(head_report(options.output, input), options.json);
  return 0;
}

int head_info_command(const HeadInfoOptions& options) {
  const auto input = input_shape(read_model_card(options.model), options.input);
  prove_runs(Program(options.model, "cpu"), options.model, input);
  print(head_report(options.model, input), options.json);
  return 0;
}

}  // namespace bitfall
