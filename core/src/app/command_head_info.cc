// bitfall head info: a head's layers, and what the model costs.
#include <CLI/CLI.hpp>

#include "all_commands.h"
#include "head_exchange.h"

namespace bitfall {
namespace {

class HeadInfoCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand(
        "info",
        "a head's layers, and what the model costs compared with one linear layer in its place");
    app->add_option("model", model_, "TorchScript file, or torch.export archive (.pt2)")->required();
    app->add_option("--input", input_, kInputHelp);
    app->add_flag("--json", json_, "JSON on stdout");
    return app;
  }
  int run() override;

 private:
  std::filesystem::path model_;
  std::string input_;
  bool json_ = false;
};

int HeadInfoCommand::run() {
  const auto input = input_shape(read_model_card(model_), input_);
  prove_runs(model_, input);
  print_head(model_, input, json_);
  return 0;
}

}  // namespace

std::unique_ptr<Command> head_info_command() { return std::make_unique<HeadInfoCommand>(); }

}  // namespace bitfall
