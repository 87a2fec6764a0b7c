// bitfall completion: what a shell needs to complete command lines, made from the commands
// themselves.
#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "all_commands.h"
#include "output.h"

namespace bitfall {
namespace {

/// A command as it is typed after `bitfall`, "head info", and what may follow.
struct CommandWords {
  std::string path;
  const CLI::App* app;
};

void collect(const CLI::App& app, const std::string& path, std::vector<CommandWords>& found) {
  found.push_back({path, &app});
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    collect(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), found);
  }
}

std::vector<CommandWords> all_words(const CLI::App& root) {
  std::vector<CommandWords> found;
  collect(root, "", found);
  return found;
}

void each_option(const CLI::App& app,
                 const std::function<void(const std::string& word, const CLI::Option& option)>& f) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_snames()) f("-" + name, *option);
    for (const std::string& name : option->get_lnames()) f("--" + name, *option);
  }
}

/// Words that may follow a command: its options, the program's, and the commands below it.
std::string following(const CommandWords& command, const CLI::App& root) {
  std::string words;
  const auto add = [&](const std::string& word) { words += (words.empty() ? "" : " ") + word; };
  for (const CLI::App* sub : command.app->get_subcommands([](const CLI::App*) { return true; })) {
    add(sub->get_name());
  }
  each_option(*command.app, [&](const std::string& word, const CLI::Option&) { add(word); });
  if (command.app == &root) return words;
  each_option(root, [&](const std::string& word, const CLI::Option&) {
    if (word != "-h" && word != "--help" && word != "--version") add(word);
  });
  return words;
}

std::string bash(const CLI::App& root) {
  std::string text =
      "# bitfall: completion for bash; in ~/.bashrc: eval \"$(bitfall completion bash)\"\n"
      "_bitfall() {\n"
      "  local word=\"${COMP_WORDS[COMP_CWORD]}\" path='' i words=''\n"
      "  for ((i = 1; i < COMP_CWORD && i < 3; ++i)); do\n"
      "    case \"$path ${COMP_WORDS[i]}\" in\n";
  for (const CommandWords& command : all_words(root)) {
    if (!command.path.empty()) {
      text += "      ' " + command.path + "') path=' " + command.path + "' ;;\n";
    }
  }
  text += "    esac\n  done\n  case \"$path\" in\n";
  for (const CommandWords& command : all_words(root)) {
    const std::string path = command.path.empty() ? "" : " " + command.path;
    text += "    '" + path + "') words='" + following(command, root) + "' ;;\n";
  }
  return text +
         "  esac\n"
         "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\"; [[ \"$word\" == -* ]] || "
         "compgen -f -- \"$word\")\n"
         "}\n"
         "complete -o filenames -F _bitfall bitfall\n";
}

std::string quoted(std::string text) {
  for (std::size_t at = 0; (at = text.find('\'', at)) != text.npos; at += 2) text.insert(at, "\\");
  return "'" + text + "'";
}

std::string fish(const CLI::App& root) {
  std::string text =
      "# bitfall: completion for fish; ~/.config/fish/completions/bitfall.fish\n"
      "function __bitfall_at\n"
      "  set -l words (commandline -opc | string match -v -- '-*')\n"
      "  test (string join ' ' -- $words[2..(math 1 + $argv[1])]) = \"$argv[2]\"\n"
      "end\n";
  for (const CommandWords& command : all_words(root)) {
    const std::string condition =
        command.path.empty()
            ? "__fish_use_subcommand"
            : "__bitfall_at " +
                  std::to_string(1 + std::count(command.path.begin(), command.path.end(), ' ')) +
                  " \"" + command.path + "\"";
    const std::string line = "complete -c bitfall -n " + quoted(condition);
    for (const CLI::App* sub : command.app->get_subcommands([](const CLI::App*) { return true; })) {
      text += line + " -f -a " + sub->get_name() + " -d " + quoted(sub->get_description()) + "\n";
    }
    each_option(*command.app, [&](const std::string& word, const CLI::Option& option) {
      text += line + (word.starts_with("--") ? " -l " + word.substr(2) : " -s " + word.substr(1)) +
              " -d " + quoted(option.get_description()) + "\n";
    });
  }
  return text;
}

class CompletionCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    root_ = &parent;
    CLI::App* app = parent.add_subcommand("completion", "what a shell needs to complete commands");
    app->add_option("shell", shell_, "bash, zsh or fish")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
    return app;
  }
  int run() override {
    const std::string text =
        shell_ == "fish" ? fish(*root_)
        : shell_ == "zsh"
            ? "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" +
                  bash(*root_)
            : bash(*root_);
    print_result("%s", text.c_str());
    return 0;
  }

 private:
  const CLI::App* root_ = nullptr;
  std::string shell_;
};

}  // namespace

std::unique_ptr<Command> completion_command() { return std::make_unique<CompletionCommand>(); }

}  // namespace bitfall
