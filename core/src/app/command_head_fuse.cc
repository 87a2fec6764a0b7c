// bitfall head fuse: one linear layer in the place of a head that is linear.
#include <CLI/CLI.hpp>

#include "atomic_file.h"
#include "all_commands.h"
#include "error.h"
#include "head_exchange.h"
#include "log.h"

namespace bitfall {
namespace {

class HeadFuseCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand(
        "fuse", "make one linear layer of a head that is linear, for inference");
    app->add_option("model", model_, "a model with a head")->required();
    app->add_option("-o,--output", output_, "TorchScript file to write")->required();
    app->add_option("--input", input_, kInputHelp);
    app->add_flag("--json", json_, "JSON on stdout");
    return app;
  }
  int run() override;

 private:
  std::filesystem::path model_;
  std::filesystem::path output_;
  std::string input_;
  bool json_ = false;
};

int HeadFuseCommand::run() {
  prove_output(output_, {model_});
  const ModelCard known = read_model_card(model_);
  const std::optional<HeadCard>& head = known.head;
  if (!head) {
    throw Error(ExitCode::kInput, model_.string() +
                                      ": has no head that `bitfall head attach` made; there is "
                                      "nothing to fuse");
  }
  const Head layers = read_head(model_, head->module);
  if (layers.size() == 1) {
    throw Error(ExitCode::kInput,
                model_.string() + ": its head is one layer already, '" + head->module + "'");
  }
  const auto name = head->module.substr(head->module.rfind('.') + 1);
  nlohmann::ordered_json card = model_card_json(model_);
  card["head"]["fused"] = true;
  const auto input = input_shape(known, input_);
  write_checked(model_, head->module, {fused(layers, name)}, card, input, output_);
  log_info("wrote " + output_.string());
  print_head(output_, input, json_);
  return 0;
}

}  // namespace

std::unique_ptr<Command> head_fuse_command() { return std::make_unique<HeadFuseCommand>(); }

}  // namespace bitfall
