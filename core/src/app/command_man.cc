// bitfall man: the manual page, made from the commands themselves.
#include <CLI/CLI.hpp>
#include <string>

#include "all_commands.h"
#include "output.h"

namespace bitfall {
namespace {

/// Text of a manual page: a backslash, a dash, and a dot at a line's beginning mean something
/// there.
std::string roff(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

std::string entry(const CLI::Option& option) {
  return ".TP\n.B " + roff(option.get_name(option.nonpositional() ? false : true, true)) + "\n" +
         roff(option.get_description()) + "\n";
}

std::string options_of(const CLI::App& app) {
  std::string text;
  for (const CLI::Option* option : app.get_options()) {
    const auto& names = option->get_lnames();
    if (!names.empty() && names.front() == "help") continue;
    text += entry(*option);
  }
  return text;
}

std::string commands_of(const CLI::App& app, const std::string& path) {
  std::string text;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    const std::string name = path + " " + sub->get_name();
    text += ".SS " + roff(name) + "\n" + roff(sub->get_description()) + "\n" + options_of(*sub);
    text += commands_of(*sub, name);
  }
  return text;
}

class ManCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    root_ = &parent;
    return parent.add_subcommand("man", "the manual page: bitfall man | man -l -");
  }
  int run() override {
    const std::string text =
        ".TH BITFALL 1 \"\" \"Bitfall " BITFALL_VERSION
        "\"\n.SH NAME\nbitfall \\- what bit errors do to a neural network's answers\n"
        ".SH SYNOPSIS\n.B bitfall\n.I COMMAND\n[options]\n.SH DESCRIPTION\n.nf\n" +
        roff(root_->get_description()) + "\n.fi\n.SH OPTIONS\n" + options_of(*root_) +
        ".SH COMMANDS\n" + commands_of(*root_, "bitfall") + ".SH EXIT STATUS\n.nf\n" +
        roff(root_->get_footer()) + "\n.fi\n";
    print_result("%s", text.c_str());
    return 0;
  }

 private:
  const CLI::App* root_ = nullptr;
};

}  // namespace

std::unique_ptr<Command> man_command() { return std::make_unique<ManCommand>(); }

}  // namespace bitfall
