// bitfall resume: an interrupted run, to its end.
#include <CLI/CLI.hpp>

#include "all_commands.h"
#include "arms.h"
#include "isolation.h"
#include "resumption.h"
#include "sampling.h"
#include "stop.h"
#include "store.h"

namespace bitfall {
namespace {

class ResumeCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("resume", "continue an interrupted run");
    app->add_option("run", run_, "the run directory")->required();
    plugins_.add_options(*app);
    CLI::Option* with =
        app->add_option("--with", plugins_.mended,
                        "a mended plugin in the place of the run's one of the same name, once its "
                        "stored trials have been run again and are equal");
    app->add_flag("--json", json_, "an end record in JSON on stdout, in place of the report");
    isolation_.add_options(*app);
    with->excludes("--isolate");  // what is stored is run again here
    app->add_flag("--with-parent", with_parent_, kWithParentHelp);
    return app;
  }
  bool stoppable() const override { return true; }
  int run() override {
    if (with_parent_) end_with_parent();
    if (isolation_.is_worker()) {
      confine_worker(isolation_, {run_}, Store::open_read_only(run_)->facts().device);
      if (!isolation_.arm.empty()) return work_at_arm(run_, plugins_, isolation_);
      return resume_run(run_, plugins_, {.json = json_, .worker = &isolation_});
    }
    if (isolation_.wanted) {
      if (Store::open_read_only(run_)->facts().sampling) refuse_goal(run_, "--isolate");
      return run_isolated_with_arms(isolated());
    }
    const int code = resume_run(run_, plugins_, {.json = json_});
    return code == 0 ? run_arms(run_, plugins_, {.json = json_}) : code;
  }

 private:
  IsolatedRun isolated() const {
    std::vector<std::string> words{"resume", run_.string()};
    for (const auto& plugin : plugins_.files)
      words.insert(words.end(), {"--plugin", plugin.string()});
    if (plugins_.trust) words.emplace_back("--trust-plugins");
    if (json_) words.emplace_back("--json");
    return {run_, words, words, isolation_.most_crashes, json_};
  }

  std::filesystem::path run_;
  Isolation isolation_;
  StoredPlugins plugins_;
  bool json_ = false;
  bool with_parent_ = false;
};

}  // namespace

std::unique_ptr<Command> resume_command() { return std::make_unique<ResumeCommand>(); }

}  // namespace bitfall
