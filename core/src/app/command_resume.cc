// bitfall resume: an interrupted run, to its end.
#include <CLI/CLI.hpp>

#include "arms.h"
#include "command.h"
#include "resumption.h"
#include "stop.h"

namespace bitfall {
namespace {

class ResumeCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("resume", "continue an interrupted run");
    app->add_option("run", run_, "the run directory")->required();
    plugins_.add_options(*app);
    app->add_option("--with", plugins_.mended,
                    "a mended plugin in the place of the run's one of the same name, once its "
                    "stored trials have been run again and are equal");
    app->add_flag("--json", json_, "an end record in JSON on stdout, in place of the report");
    app->add_flag("--with-parent", with_parent_, kWithParentHelp);
    return app;
  }
  bool stoppable() const override { return true; }
  int run() override {
    if (with_parent_) end_with_parent();
    const int code = resume_run(run_, plugins_, {.json = json_});
    return code == 0 ? run_arms(run_, plugins_, json_) : code;
  }

 private:
  std::filesystem::path run_;
  StoredPlugins plugins_;
  bool json_ = false;
  bool with_parent_ = false;
};

}  // namespace

std::unique_ptr<Command> resume_command() { return std::make_unique<ResumeCommand>(); }

}  // namespace bitfall
