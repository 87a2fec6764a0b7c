// bitfall config: every key of a campaign file, or of a training file, with its type, default and
// meaning.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "command.h"
#include "key_table.h"

namespace bitfall {
namespace {

class ConfigCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app =
        parent.add_subcommand("config", "the keys of a campaign or training file, with defaults");
    app->add_flag("--training", training_, "of a training file, for `bitfall train`");
    return app;
  }
  int run() override;

 private:
  bool training_ = false;
};

int ConfigCommand::run() {
  std::printf("%s", (training_ ? training_keys() : campaign_keys()).markdown().c_str());
  return 0;
}

}  // namespace

std::unique_ptr<Command> config_command() { return std::make_unique<ConfigCommand>(); }

}  // namespace bitfall
