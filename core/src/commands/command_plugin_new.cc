// bitfall plugin new: a working plugin to begin with.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "output.h"
#include "plugin_commands.h"
#include "plugin_host.h"
#include "plugin_template.h"
#include "words.h"

namespace bitfall {
namespace {

constexpr const char* kNewHelp =
    R"(Kinds: format, error_model, metric, head_init, protection. Writes a project of its own: the source, a CMakeLists.txt, a
small campaign with a network and images, a README. Nothing is overwritten.

Example:
  bitfall plugin new format nf4 --group my_lab)";

class PluginNewCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("new", "write a working plugin to begin with");
    app->footer(kNewHelp);
    app->add_option("kind", kind_, "format, error_model, metric, head_init or protection")
        ->required();
    app->add_option("name", plugin_.name, "its id, in small letters, digits and '_'")->required();
    app->add_option("--dir", plugin_.folder, "the folder to make (default: the name)");
    app->add_option("--group", plugin_.group, "who makes it: ids are then GROUP/NAME");
    return app;
  }
  int run() override;

 private:
  std::string kind_;
  NewPlugin plugin_{ComponentKind::kFormat, "", "", ""};
};

/// `bitfall` where the shell finds this program by that name, else its path.
std::string program_word() {
  const std::filesystem::path program = program_path();
  const char* path = std::getenv("PATH");
  for (const std::string& folder : split(path == nullptr ? "" : path, ':')) {
    const std::filesystem::path found = std::filesystem::path(folder) / "bitfall";
    std::error_code error;
    if (access(found.c_str(), X_OK) != 0) continue;
    if (std::filesystem::equivalent(found, program, error)) return "bitfall";
    break;
  }
  return shell_word(program.string());
}

/// The options of the compiler as they are, where a blank in a path keeps the shell from reading
/// them of `$(bitfall plugin flags)`.
void spell_out_flags(std::string& commands) {
  std::vector<std::string> flags = plugin_flags();
  const std::string plain = joined(flags, " ");
  for (std::string& flag : flags) flag = shell_word(flag);
  const std::string quoted = joined(flags, " ");
  constexpr std::string_view kCall = "$(bitfall plugin flags)";
  if (const auto at = commands.find(kCall); quoted != plain && at != commands.npos) {
    commands.replace(at, kCall.size(), quoted);
  }
}

/// The commands with the program's word in the place of `bitfall`.
std::string with_program(const std::string& commands, const std::string& program) {
  std::string text;
  for (const std::string& line : split(commands, '\n')) {
    if (line.empty()) continue;
    std::string changed = line;
    for (std::size_t at = 0; (at = changed.find("bitfall ", at)) != changed.npos;) {
      const bool word = at == 0 || changed[at - 1] == ' ' || changed[at - 1] == '(';
      if (word) changed.replace(at, 7, program);
      at += word ? program.size() : 7;
    }
    text += "  " + changed + "\n";
  }
  return text;
}

int PluginNewCommand::run() {
  plugin_.kind = kind_of_name(kind_);
  if (plugin_.folder.empty()) plugin_.folder = plugin_.name;
  PluginHost host;
  load_plugins(host, {});
  std::string commands = write_new_plugin(plugin_, host);
  spell_out_flags(commands);
  print_result("%s: a working %s; %s.cc is where to begin\n\n  cd %s\n%s", plugin_.folder.c_str(),
               to_string(plugin_.kind), plugin_.name.c_str(),
               shell_word(plugin_.folder.string()).c_str(),
               with_program(commands, program_word()).c_str());
  return 0;
}

}  // namespace

std::unique_ptr<Command> plugin_new_command() { return std::make_unique<PluginNewCommand>(); }

}  // namespace bitfall
