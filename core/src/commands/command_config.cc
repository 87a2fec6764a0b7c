// bitfall config: every key of a campaign file, or of a training file, with its type, default and
// meaning.
#include <CLI/CLI.hpp>

#include "file_commands.h"
#include "key_table.h"
#include "output.h"

namespace bitfall {
namespace {

class ConfigCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app =
        parent.add_subcommand("config", "the keys of a campaign or training file, with defaults");
    app->add_flag("--training", training_, "of a training file, for `bitfall train`");
    app->add_flag("--json", json_, "JSON on stdout");
    app->add_flag("--json-schema", json_schema_,
                  "a JSON Schema of the file, for editors that complete and check TOML")
        ->excludes("--json");
    return app;
  }
  int run() override;

 private:
  bool training_ = false;
  bool json_ = false;
  bool json_schema_ = false;
};

int ConfigCommand::run() {
  const KeyTable& keys = training_ ? training_keys() : campaign_keys();
  const std::string text = json_          ? keys.json()
                           : json_schema_ ? keys.json_schema()
                                          : keys.markdown();
  print_result("%s", text.c_str());
  return 0;
}

}  // namespace

std::unique_ptr<Command> config_command() { return std::make_unique<ConfigCommand>(); }

}  // namespace bitfall
