// bitfall sites: the places of a model that a fault can hit.
#include <CLI/CLI.hpp>
#include <optional>
#include <set>
#include <sstream>

#include "all_commands.h"
#include "error.h"
#include "log.h"
#include "model.h"
#include "model_card.h"
#include "model_costs.h"
#include "output.h"
#include "plugin_host.h"
#include "site_table.h"
#include "torch_runtime.h"

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
    app->add_option("model", model_, "TorchScript file, or torch.export archive (.pt2)")
        ->required();
    app->add_option("--input", input_, kInputHelp);
    app->add_option("--batch", batch_,
                    "images per pass that sites are proven on (default 3, or what its trace holds)")
        ->check(CLI::Range(1, 65536));
    app->add_option("--library", libraries_, "library of operators that the network uses");
    app->add_option("--output", output_,
                    "name or number of the result that is the answer, where there are several");
    app->add_option("--format", format_, "number format for the column of bits (default fp32)");
    app->add_option("--operations", operations_,
                    "kinds, comma-separated: conv,linear,matmul,softmax,add,... or *");
    app->add_flag("--all", all_, "every operation");
    app->add_flag("--json", json_, "JSON on stdout");
    app->add_option("--plugin", plugins_, "further shared libraries");
    return app;
  }
  int run() override;

 private:
  std::vector<std::filesystem::path> plugins_;
  Model open(std::array<std::int64_t, 3> input) const;
  std::optional<Model> fit_alone(ModelOptions options) const;

  std::filesystem::path model_;
  std::string input_;       // "3x224x224"; empty = recorded in the model, else 3x224x224
  std::int64_t batch_ = 0;  // 0 = to be chosen
  std::string output_;
  std::vector<std::filesystem::path> libraries_;
  std::string format_;      // id
  std::string operations_;  // comma-separated kinds; empty = conv,linear + parameters + input
  bool all_ = false;
  bool json_ = false;
};

SiteCoverage site_coverage(const Coverage& covered) {
  SiteCoverage told{covered.operations,
                    covered.covered_operations,
                    covered.parameters,
                    covered.covered_parameters,
                    {},
                    missed_text(covered)};
  for (const LayerCost& part : covered.missed) {
    told.missed.push_back({part.name, part.operation, part.operations});
  }
  return told;
}

// With one image a pass, where that makes the model fit for campaigns.
std::optional<Model> SitesCommand::fit_alone(ModelOptions options) const {
  options.batch = 1;
  try {
    Model model(model_, options);
    if (model.unfit().empty()) return model;
  } catch (const Error&) {  // it needs more images
  }
  return std::nullopt;
}

// At the batch that is asked for, else at one that its trace may hold.
Model SitesCommand::open(std::array<std::int64_t, 3> input) const {
  ModelOptions options;
  options.input = input;
  options.batch = batch_ > 0 ? batch_ : 3;
  options.answer.output = output_;
  options.answer.any = true;
  for (const auto& library : libraries_) TorchRuntime::get().load_library(library);
  try {
    Model model(model_, options);
    if (model.unfit().empty() || batch_ > 0) return model;
    auto alone = fit_alone(options);  // as `run` does
    if (!alone) return model;
    log_info("the sites are those of [run] batch = 1: " + model.unfit());
    return std::move(*alone);
  } catch (const Error& error) {
    const auto fixed = find_fixed_batch(model_, options);
    if (!fixed || error.code() != ExitCode::kInput) throw;
    const std::string holds = "its trace holds a batch of " + std::to_string(*fixed);
    if (batch_ > 0) {
      throw Error(ExitCode::kInput, std::string(error.what()) + "\n  " + holds + ": --batch " +
                                        std::to_string(*fixed));
    }
    options.batch = *fixed;
    log_info(holds + ", which the sites are those of");
    return Model(model_, options);
  }
}

int SitesCommand::run() {
  PluginHost host;
  load_plugins(host, plugins_);
  Diagnostics diagnostics("--format", "");
  PluginChoice choice;
  choice.id = format_.empty() ? "fp32" : format_;
  const auto format = host.make_format(choice, diagnostics);
  diagnostics.throw_if_any();
  const ModelCard card = read_model_card(model_);
  const auto input = input_shape(card, input_);
  const Model model = open(input);
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
  const Coverage covered = coverage(model);
  if (json_) {
    print_result("%s", sites_json(shown, *format, site_coverage(covered), model.unfit()).c_str());
    return 0;
  }
  print_result("%s\n%zu sites, %lld classes, input %lldx%lldx%lld, bits in %s",
               sites_text(shown, *format).c_str(), shown.size(),
               static_cast<long long>(model.classes()), static_cast<long long>(input[0]),
               static_cast<long long>(input[1]), static_cast<long long>(input[2]),
               choice.id.c_str());
  if (hidden > 0) print_result("; %zu more with --all", hidden);
  print_result("\n%s", coverage_text(site_coverage(covered)).c_str());
  if (!model.unfit().empty()) log_warning("no campaign runs on it: " + model.unfit());
  return 0;
}

}  // namespace

std::unique_ptr<Command> sites_command() { return std::make_unique<SitesCommand>(); }

}  // namespace bitfall
