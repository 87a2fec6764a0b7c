// bitfall plugin remove: a pack that was added.
#include <CLI/CLI.hpp>
#include <set>

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
    app->add_option("name", name_,
                    "the plugin's name, with its group in front where several have it")
        ->required();
    app->add_flag("--forget-key", forget_, "also the key that signed its packs");
    return app;
  }
  int run() override;

 private:
  std::string name_;
  bool forget_ = false;
};

std::string listed(const std::set<std::string>& ids) {
  return joined(std::vector<std::string>(ids.begin(), ids.end()));
}

int PluginRemoveCommand::run() {
  std::set<std::string> ids, meant;
  const std::vector<InstalledPack> packs = installed_packs();
  for (const InstalledPack& pack : packs) {
    ids.insert(pack.manifest.id());
    if (pack.manifest.name == name_ || pack.manifest.id() == name_)
      meant.insert(pack.manifest.id());
  }
  if (meant.count(name_) > 0) meant = {name_};
  if (meant.size() > 1) {
    throw Error(ExitCode::kUsage,
                in_quotes(name_) + " is the short name of several, say which: " + listed(meant));
  }
  const std::string id = meant.empty() ? name_ : *meant.begin();
  for (const InstalledPack& pack : packs) {
    if (pack.manifest.id() != id) continue;
    std::error_code error;
    std::filesystem::remove_all(pack.folder, error);
    if (error) {
      throw Error(ExitCode::kFailure,
                  pack.folder.string() + ": cannot be removed: " + error.message());
    }
    print_result("removed %s\n", pack.folder.c_str());
  }
  const bool forgotten = forget_ && is_plugin_id(id) && forget_key(id);
  if (forgotten) print_result("forgot the key that signed the packs of %s\n", id.c_str());
  if (meant.empty() && !forgotten) {
    throw Error(ExitCode::kUsage,
                "no pack " + in_quotes(name_) +
                    (forget_ ? " was added, and no key of it is known; " : " was added; ") +
                    (ids.empty() ? "none was" : "there are " + listed(ids)));
  }
  return 0;
}

}  // namespace

std::unique_ptr<Command> plugin_remove_command() { return std::make_unique<PluginRemoveCommand>(); }

}  // namespace bitfall
