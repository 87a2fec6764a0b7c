// bitfall plugin list: all components, and files that were refused.
#include <CLI/CLI.hpp>

#include "output.h"
#include "plugin_commands.h"
#include "plugin_host.h"
#include "plugin_tables.h"

namespace bitfall {
namespace {

class PluginListCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("list", "all components, and files that were refused");
    app->add_option("--plugin", plugins_, "further shared libraries");
    app->add_flag("--json", json_, "JSON on stdout");
    return app;
  }
  int run() override;

 private:
  std::vector<std::filesystem::path> plugins_;
  bool json_ = false;
};

int PluginListCommand::run() {
  PluginHost host;
  load_plugins(host, plugins_);
  print_result("%s", (json_ ? plugin_list_json(host) : plugin_list_text(host)).c_str());
  return 0;
}

}  // namespace

std::unique_ptr<Command> plugin_list_command() { return std::make_unique<PluginListCommand>(); }

}  // namespace bitfall
