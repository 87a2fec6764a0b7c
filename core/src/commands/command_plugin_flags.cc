// bitfall plugin flags: how plugins are compiled without CMake.
#include <CLI/CLI.hpp>

#include "output.h"
#include "plugin_commands.h"
#include "plugin_template.h"
#include "words.h"

namespace bitfall {
namespace {

class PluginFlagsCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("flags", "the compiler's options for a plugin");
    app->footer("Example:\n  g++ $(bitfall plugin flags) log8.cc -o log8.so");
    return app;
  }
  int run() override {
    std::vector<std::string> flags = plugin_flags();
    for (std::string& flag : flags) flag = shell_word(flag);
    print_result("%s\n", joined(flags, " ").c_str());
    return 0;
  }
};

}  // namespace

std::unique_ptr<Command> plugin_flags_command() { return std::make_unique<PluginFlagsCommand>(); }

}  // namespace bitfall
