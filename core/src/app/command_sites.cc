// bitfall sites: the places of a model that a fault can hit.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <set>
#include <sstream>

#include "command.h"
#include "error.h"
#include "model.h"
#include "model_card.h"
#include "plugin_host.h"
#include "site_table.h"

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

bool listed(const Site& site, const std::vector<std::string>& operations) {
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

class SitesCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("sites", "the places of a model that a fault can hit");
    app->add_option("model", model_, "TorchScript file")->required();
    app->add_option("--input", input_, kInputHelp);
    app->add_option("--format", format_, "number format for the column of bits (default fp32)");
    app->add_option("--operations", operations_,
                    "kinds, comma-separated: conv,linear,matmul,softmax,add,... or *");
    app->add_flag("--all", all_, "every operation");
    app->add_flag("--json", json_, "JSON on stdout");
    return app;
  }
  int run() override;

 private:
  std::filesystem::path model_;
  std::string input_;       // "3x224x224"; empty = recorded in the model, else 3x224x224
  std::string format_;      // id
  std::string operations_;  // comma-separated kinds; empty = conv,linear + parameters + input
  bool all_ = false;
  bool json_ = false;
};

int SitesCommand::run() {
  PluginHost host;
  load_plugins(host, {});
  Diagnostics diagnostics("--format", "");
  PluginChoice choice;
  choice.id = format_.empty() ? "fp32" : format_;
  const auto format = host.make_format(choice, diagnostics);
  diagnostics.throw_if_any();
  const ModelCard card = read_model_card(model_);
  const auto input = input_shape(card, input_);
  const Model model(model_, input, 3, "cpu");
  const auto operations = split(operations_);
  check_operations(operations, model.sites());
  std::vector<Site> shown;
  std::size_t hidden = 0;
  for (const Site& site : model.sites()) {
    if (all_ || listed(site, operations))
      shown.push_back(site);
    else
      ++hidden;
  }
  if (json_) {
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

}  // namespace

std::unique_ptr<Command> sites_command() { return std::make_unique<SitesCommand>(); }

}  // namespace bitfall
