// bitfall resume: an interrupted run, to its end.
#include <CLI/CLI.hpp>

#include "arms.h"
#include "command.h"

namespace bitfall {
namespace {

class ResumeCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("resume", "continue an interrupted run");
    app->add_option("run", run_, "the run directory")->required();
    plugins_.add_options(*app);
    return app;
  }
  bool stoppable() const override { return true; }
  int run() override;

 private:
  std::filesystem::path run_;
  StoredPlugins plugins_;
};

int ResumeCommand::run() {
  const int code = resume_run(run_, plugins_, true);
  return code == 0 ? run_arms(run_, plugins_) : code;
}

}  // namespace

std::unique_ptr<Command> resume_command() { return std::make_unique<ResumeCommand>(); }

}  // namespace bitfall
