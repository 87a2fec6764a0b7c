// bitfall sites, formats, plugin, env: what there is.
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "commands.h"
#include "error.h"
#include "format_tables.h"
#include "key_table.h"
#include "model.h"
#include "model_card.h"
#include "plugin_host.h"
#include "plugin_tables.h"

namespace bitfall {
namespace {

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::stringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

bool listed(const Site& site, const SitesOptions& options,
            const std::vector<std::string>& operations) {
  if (options.all) return true;
  if (operations.empty()) {
    return site.target != Target::kActivation || site.operation == "conv" ||
           site.operation == "linear";
  }
  for (const std::string& kind : operations) {
    if (kind == site.operation || kind == "*") return true;
  }
  return false;
}

/// A kind that the model does not have is a mistake, not an empty table.
void check_operations(const std::vector<std::string>& operations, const std::vector<Site>& sites) {
  std::set<std::string> kinds;
  for (const Site& site : sites) {
    if (!site.operation.empty()) kinds.insert(site.operation);
  }
  for (const std::string& wanted : operations) {
    if (wanted == "*" || kinds.count(wanted) == 1) continue;
    std::string known;
    for (const std::string& kind : kinds) known += (known.empty() ? "" : ", ") + kind;
    throw Error(ExitCode::kUsage,
                "--operations " + wanted + ": the model has no such sites; its kinds are " + known);
  }
}

}  // namespace

int sites_command(const SitesOptions& options) {
  PluginHost host;
  load_plugins(host, {});
  Diagnostics diagnostics("--format", "");
  PluginChoice choice;
  choice.id = options.format.empty() ? "fp32" : options.format;
  const auto format = host.make_format(choice, diagnostics);
  diagnostics.throw_if_any();
  const ModelCard card = read_model_card(options.model);
  const auto input = input_shape(card, options.input);
  const Model model(options.model, input, 3, "cpu", 0);
  const auto operations = split(options.operations);
  check_operations(operations, model.sites());
  std::vector<Site> shown;
  std::size_t hidden = 0;
  for (const Site& site : model.sites()) {
    if (listed(site, options, operations))
      shown.push_back(site);
    else
      ++hidden;
  }
  if (options.json) {
    std::printf("%s", sites_json(shown, *format).c_str());
    return 0;
  }
  std::printf("%s\n%zu sites, %lld classes, input %lldx%lldx%lld, bits in %s",
              sites_text(shown, *format).c_str(), shown.size(),
              static_cast<long long>(model.classes()), static_cast<long long>(input[0]),
              static_cast<long long>(input[1]), static_cast<long long>(input[2]),
              choice.id.c_str());
  if (hidden > 0) std::printf("; %zu more with --all", hidden);
  std::printf("\n");
  return 0;
}

int formats_command(bool json, bool markdown) {
  PluginHost host;
  load_plugins(host, {});
  std::printf("%s", (json       ? formats_json(host)
                     : markdown ? formats_markdown(host)
                                : formats_text(host))
                        .c_str());
  return 0;
}

int config_command(bool training) {
  std::printf("%s", (training ? training_keys() : campaign_keys()).markdown().c_str());
  return 0;
}

int plugin_list_command(const std::vector<std::filesystem::path>& extra, bool json) {
  PluginHost host;
  load_plugins(host, extra);
  std::printf("%s", (json ? plugin_list_json(host) : plugin_list_text(host)).c_str());
  return 0;
}

int plugin_info_command(const std::string& id, const std::vector<std::filesystem::path>& extra,
                        bool json) {
  PluginHost host;
  load_plugins(host, extra);
  std::printf("%s", (json ? plugin_info_json(host, id) : plugin_info_text(host, id)).c_str());
  return 0;
}

int env_command(bool json) {
  PluginHost host;
  load_plugins(host, {});
  const Runtime runtime = runtime_of("cpu");
  nlohmann::ordered_json facts = {{"bitfall_version", BITFALL_VERSION},
                                  {"plugin_abi", kAbi},
                                  {"torch_version", runtime.torch_version},
                                  {"cpu_capability", runtime.cpu},
                                  {"threads", runtime.threads},
                                  {"cuda", cuda_available()},
                                  {"compiler", __VERSION__},
                                  {"plugin_folder", default_plugin_folder().string()},
                                  {"plugins", host.plugins().size()},
                                  {"plugins_refused", host.refused().size()}};
  if (json) {
    nlohmann::ordered_json document = {{"schema", "bitfall.env/1"}};
    document.update(facts);
    std::printf("%s\n", document.dump(2).c_str());
    return 0;
  }
  for (const auto& [key, value] : facts.items()) {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    std::printf("%-16s %s\n", key.c_str(), text.c_str());
  }
  return 0;
}

}  // namespace bitfall
