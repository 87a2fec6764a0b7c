// bitfall plugin remove: a pack that was added.
#include <CLI/CLI.hpp>

#include "error.h"
#include "output.h"
#include "pack_store.h"
#include "plugin_commands.h"
#include "words.h"

namespace bitfall {
namespace {

class PluginRemoveCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("remove", "remove a pack that was added");
    app->footer(
        "Runs keep their own copies of it, and go on.\n\nExample:\n  bitfall plugin remove nf4");
    app->add_option("name", name_, "the plugin's name")->required();
    app->add_flag("--forget-key", forget_, "also the key that signed its packs");
    return app;
  }
  int run() override;

 private:
  std::string name_;
  bool forget_ = false;
};

int PluginRemoveCommand::run() {
  std::vector<std::string> names;
  bool removed = false;
  for (const InstalledPack& pack : installed_packs()) {
    names.push_back(pack.manifest.name);
    if (pack.manifest.name != name_) continue;
    std::error_code error;
    std::filesystem::remove_all(pack.folder, error);
    if (error) {
      throw Error(ExitCode::kFailure,
                  pack.folder.string() + ": cannot be removed: " + error.message());
    }
    print_result("removed %s\n", pack.folder.c_str());
    removed = true;
  }
  if (!removed && !forget_) {
    throw Error(ExitCode::kUsage, "no pack " + in_quotes(name_) + " was added; " +
                                      (names.empty() ? "none was" : "there are " + joined(names)));
  }
  if (forget_) forget_key(name_);
  return 0;
}

}  // namespace

std::unique_ptr<Command> plugin_remove_command() { return std::make_unique<PluginRemoveCommand>(); }

}  // namespace bitfall
