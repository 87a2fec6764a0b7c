// bitfall formats: the number formats.
#include <CLI/CLI.hpp>

#include "file_commands.h"
#include "format_tables.h"
#include "output.h"
#include "plugin_host.h"

namespace bitfall {
namespace {

class FormatsCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("formats", "the number formats");
    app->add_flag("--json", json_, "JSON on stdout");
    app->add_flag("--markdown", markdown_, "the table of formats/README.md on stdout")
        ->excludes("--json");
    app->add_option("--plugin", plugins_, "further shared libraries");
    return app;
  }
  int run() override;

 private:
  std::vector<std::filesystem::path> plugins_;
  bool json_ = false;
  bool markdown_ = false;
};

int FormatsCommand::run() {
  PluginHost host;
  load_plugins(host, plugins_);
  print_result("%s", (json_       ? formats_json(host)
                      : markdown_ ? formats_markdown(host)
                                  : formats_text(host))
                         .c_str());
  return 0;
}

}  // namespace

std::unique_ptr<Command> formats_command() { return std::make_unique<FormatsCommand>(); }

}  // namespace bitfall
