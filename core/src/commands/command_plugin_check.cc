// bitfall plugin check: tries a plugin's components, each check in a process of its own.
#include <CLI/CLI.hpp>
#include <algorithm>

#include "error.h"
#include "output.h"
#include "plugin_check.h"
#include "plugin_commands.h"

namespace bitfall {
namespace {

constexpr const char* kCheckHelp =
    R"(Each check runs in a child process, with limits of memory and time, on inputs that end where memory ends.
Verdicts: pass; FAIL, a promise is not kept; CRASH, a signal; HANG, no end; EXIT, it ended the process.
Exit code 0 where all passed, else 3.

Examples:
  bitfall plugin check build/log8.so
  bitfall plugin check build/log8.so --only 'log8 slices' --seed 7
  bitfall plugin check --list)";

class PluginCheckCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app =
        parent.add_subcommand("check", "try a plugin's components, each check in a child process");
    app->footer(kCheckHelp);
    app->add_option("file", request_.file, "the shared library");
    app->add_option("--only", request_.only,
                    "checks that a regular expression finds, as 'format/log8 slices'");
    app->add_option("--seed", request_.seed, "seed of the inputs")->capture_default_str();
    app->add_option("--options", request_.options,
                    "KEY=VALUE, for components with such an option; may be repeated")
        ->allow_extra_args(false);
    app->add_option("--classes", request_.classes,
                    "of every answer that metrics are given (default: from 1 to 1000)")
        ->check(CLI::Range(1, 1000000));
    app->add_option("--plugin", request_.plugins,
                    "another plugin's file, on which components of this one stand; may be repeated")
        ->allow_extra_args(false);
    app->add_option("--limit", request_.limits.call_s, "seconds that one call may take")
        ->capture_default_str()
        ->check(number_between(0.1, 3600.0));
    app->add_flag("--list", list_, "the checks there are, and what each looks at");
    app->add_flag("--json", json_, "JSON on stdout");
    return app;
  }
  int run() override;

 private:
  CheckRequest request_;
  bool list_ = false;
  bool json_ = false;
};

int PluginCheckCommand::run() {
  if (list_) {
    print_result("%s", check_list().c_str());
    return 0;
  }
  if (request_.file.empty()) {
    throw Error(ExitCode::kUsage, "name the shared library to check, or give --list");
  }
  request_.limits.total_s = std::max(request_.limits.total_s, 2 * request_.limits.call_s);
  const CheckReport report = check_plugin(request_, [&](const CheckResult& result) {
    if (json_) return;
    print_result("%s", check_line(result).c_str());
    flush_results();
  });
  print_result("%s", (json_ ? check_json(report) : check_summary(report)).c_str());
  return report.failures() == 0 ? 0 : static_cast<int>(ExitCode::kPlugin);
}

}  // namespace

std::unique_ptr<Command> plugin_check_command() { return std::make_unique<PluginCheckCommand>(); }

}  // namespace bitfall
