#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <utility>

#include "command.h"

namespace bitfall {
namespace {

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

}  // namespace

std::unique_ptr<Command> command_group(std::string name, std::string help, Commands parts) {
  return std::make_unique<Group>(std::move(name), std::move(help), std::move(parts));
}

}  // namespace bitfall
