// bitfall plugin info: a component's options.
#include <CLI/CLI.hpp>

#include "output.h"
#include "plugin_commands.h"
#include "plugin_host.h"
#include "plugin_tables.h"

namespace bitfall {
namespace {

class PluginInfoCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("info", "a component's options, with a snippet to copy");
    app->add_option("id", id_, "a component's id, or kind/id")->required();
    app->add_option("--plugin", plugins_, "further shared libraries");
    app->add_flag("--json", json_, "JSON on stdout");
    return app;
  }
  int run() override;

 private:
  std::string id_;
  std::vector<std::filesystem::path> plugins_;
  bool json_ = false;
};

int PluginInfoCommand::run() {
  PluginHost host;
  load_plugins(host, plugins_);
  print_result("%s", (json_ ? plugin_info_json(host, id_) : plugin_info_text(host, id_)).c_str());
  return 0;
}

}  // namespace

std::unique_ptr<Command> plugin_info_command() { return std::make_unique<PluginInfoCommand>(); }

}  // namespace bitfall
