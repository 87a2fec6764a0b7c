#include <CLI/CLI.hpp>
#include <string>
#include <utility>

#include "command.h"

namespace bitfall {
namespace {

using Commands = std::vector<std::unique_ptr<Command>>;

/// A command that is only the first word of others: `bitfall head info`.
class Group final : public Command {
 public:
  Group(std::string name, std::string help, Commands parts)
      : name_(std::move(name)), help_(std::move(help)), parts_(std::move(parts)) {}

  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand(name_, help_);
    app->require_subcommand(1);
    for (const auto& part : parts_) {
      part->add(*app)->callback([this, chosen = part.get()] { chosen_ = chosen; });
    }
    return app;
  }
  int run() override { return chosen_->run(); }
  bool stoppable() const override { return chosen_->stoppable(); }

 private:
  std::string name_;
  std::string help_;
  Commands parts_;
  Command* chosen_ = nullptr;
};

template <typename... Parts>
Commands commands_of(Parts... parts) {
  Commands commands;
  (commands.push_back(std::move(parts)), ...);
  return commands;
}

}  // namespace

std::vector<std::unique_ptr<Command>> all_commands() {
  return commands_of(
      run_command(), resume_command(), plan_command(), work_command(), merge_command(),
      status_command(), report_command(), compare_command(), profile_command(), cam_command(),
      values_command(), replay_command(), export_command(), import_command(), sites_command(),
      formats_command(), convert_command(), embeddings_command(),
      std::make_unique<Group>("head", "replace a classifier's last layer",
                              commands_of(head_attach_command(), head_fuse_command(),
                                          head_rescale_command(), head_info_command())),
      train_command(), init_command(), config_command(),
      std::make_unique<Group>(
          "plugin", "components that are installed, and making one",
          commands_of(plugin_list_command(), plugin_info_command(), plugin_new_command(),
                      plugin_flags_command(), plugin_check_command(), plugin_pack_command(),
                      plugin_verify_command(), plugin_add_command(), plugin_remove_command())),
      env_command(), completion_command(), man_command());
}

}  // namespace bitfall
