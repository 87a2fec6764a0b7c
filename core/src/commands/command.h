// A command of the program: how it is called, and what it does.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace CLI {
class App;
class Validator;
}

namespace bitfall {

/// For options: a real number from `low` to `high`, and no NaN, which CLI11 takes for one.
CLI::Validator number_between(double low, double high);

class Command {
 public:
  virtual ~Command() = default;
  /// Declares the command with its options, which are members: the parser fills them in.
  virtual CLI::App* add(CLI::App& parent) = 0;
  /// Once they are filled in. Returns the process's exit code.
  virtual int run() = 0;
  /// Whether it ends what it has begun when stop_requested is set; any other command may be killed
  /// at any time.
  virtual bool stoppable() const { return false; }
};

using Commands = std::vector<std::unique_ptr<Command>>;

template <typename... Parts>
Commands commands_of(Parts... parts) {
  Commands commands;
  (commands.push_back(std::move(parts)), ...);
  return commands;
}

/// A command that is only the first word of others: `bitfall head info`.
std::unique_ptr<Command> command_group(std::string name, std::string help, Commands parts);

}  // namespace bitfall
