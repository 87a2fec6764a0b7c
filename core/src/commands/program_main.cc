#include "program_main.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include "error.h"
#include "log.h"
#include "output.h"
#include "plugin_calls.h"
#include "plugin_template.h"
#include "progress.h"
#include "stop.h"
#include "torch_message.h"
#include "utf8.h"
#include "word_reader.h"
#include "words.h"

namespace bitfall {
namespace {

constexpr const char* kExamples = R"(bitfall - what bit errors do to a neural network's answers

Examples:
  bitfall sites model.pt                    the places that a fault can hit
  bitfall init model.pt images              a campaign file to start from
  bitfall run campaign.toml --dry-run       how many trials, how precise, how long
  bitfall run campaign.toml                 run it (Ctrl-C is safe)
  bitfall resume runs/campaign              go on after an interruption
  bitfall plan campaign.toml -o DIR --shards 64   for many machines; then work, status, merge
  bitfall report runs/campaign              the tables, and report.html with charts
  bitfall compare runs/base runs/method     what a method improves, layer by layer
  bitfall profile runs/base runs/method     how large the values of both networks are
  bitfall cam runs/campaign --trial runs/campaign:7   what of the image the class hangs on
  bitfall values campaign.toml --site fc -o fc.npy   what a site holds, as a NumPy array
  bitfall replay runs/campaign --trial 7    one trial again, bit for bit
  bitfall export runs/campaign --csv        every trial as a table
  bitfall plugin info bit_flip              a plugin's options, with a snippet to copy
  bitfall convert fp16 0.1 --flip all       a number's bits, and the number after each flip
  bitfall head attach net.pt --init linear -o new.pt   another last layer
  bitfall embeddings clip.pth               look at text embeddings before a head uses them
  bitfall train train.toml                  train it

A campaign file needs two sections; everything else has a default:
  [model]
  path = "model.pt"      # from scripts/export_model.py, torch.jit or torch.export
  [data]
  path = "images"        # one folder per class
)";

constexpr const char* kExitCodes =
    "Exit codes: 0 done; 1 failure; 2 command line or campaign file; 3 plugin; 4 input missing or "
    "corrupt;\n"
    "5 a condition of `report --fail-if`; "
    "75 interrupted, continue with `bitfall resume` or `bitfall train FILE --resume`.";

void settle_signals() {
  std::signal(SIGPIPE, SIG_DFL);
  std::signal(SIGXFSZ,
              SIG_IGN);  // a file size limit is then an error of the write, as a full disk is
}

/// The command's name: the first argument that is not an option or the value of one.
std::string first_word(const std::vector<std::string>& arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!arguments[i].starts_with('-')) return arguments[i];
    if (arguments[i] == "--progress") ++i;
  }
  return "";
}

std::vector<std::string> names_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands({})) names.push_back(sub->get_name());
  return names;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Throws where the command is unknown, with a name that is near it.
void check_name(const CLI::App& app, const std::string& name) {
  const std::vector<std::string> known = names_of(app);
  if (contains(known, name)) return;
  const std::string near = did_you_mean(name, known);
  throw CLI::ParseError("unknown command '" + name + "'" + (near.empty() ? "" : ", " + near),
                        CLI::ExitCodes::ExtrasError);
}

/// A number such as -inf or -.5 looks like an option to CLI11; after a blank it does not, and reads
/// as the same number.
void shield_numbers(std::vector<std::string>& arguments) {
  for (std::string& argument : arguments) {
    if (argument.starts_with('-') && parse_real(argument)) argument.insert(0, 1, ' ');
  }
}

void parse(CLI::App& app, std::vector<std::string> arguments) {
  const std::string name = first_word(arguments);
  if (!name.empty()) check_name(app, name);
  if (name == "convert") shield_numbers(arguments);
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
  app.parse(std::move(arguments));
}

/// Becomes the program of this name that lies beside this one.
void become(const std::string& name, char** argv) {
  const std::string path = (program_path().parent_path() / name).string();
  ::execv(path.c_str(), argv);
  throw Error(ExitCode::kFailure,
              path + ": cannot be started: " + std::generic_category().message(errno) +
                  "; it comes with bitfall, and runs what needs LibTorch");
}

int execute(Command& command) {
  if (command.stoppable()) catch_stops();
  const int status = command.run();
  if (!flush_results()) {
    throw Error(ExitCode::kFailure, "standard output: write failed");
  }
  return status;
}

int refuse(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) {  // --help, --version
    const int status = app.exit(error);
    return std::cout.flush() && flush_results() ? status : static_cast<int>(ExitCode::kFailure);
  }
  std::string command = "bitfall";
  for (const CLI::App* sub = &app; !sub->get_subcommands().empty();) {
    sub = sub->get_subcommands().front();
    command += " " + sub->get_name();
  }
  std::fprintf(stderr, "bitfall: %s\ntry: %s --help\n", printable(error.what()).c_str(),
               command.c_str());
  return static_cast<int>(ExitCode::kUsage);
}

int run_program(int argc, char** argv, const Commands& commands, const char* with_others) {
  settle_signals();
  CLI::App app{kExamples};
  app.name("bitfall");
  app.footer(kExitCodes);
  app.require_subcommand(1);
  app.fallthrough();  // the commands inherit it: they take the options of the program too
  app.set_version_flag("--version", "bitfall " BITFALL_VERSION);
  bool quiet = false;
  app.add_flag("-q,--quiet", quiet, "no progress and no notes on stderr, only warnings and errors");
  std::string progress = "text";
  app.add_option("--progress", progress, "text, or json: lines for another program, on stderr")
      ->check(CLI::IsMember({"text", "json"}));
  Command* chosen = nullptr;
  for (const auto& command : commands) {
    command->add(app)->callback([&chosen, command = command.get()] { chosen = command; });
  }
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  try {
    const std::string word = first_word(arguments);
    const bool own =
        word.empty() ? contains(arguments, "--version") : contains(names_of(app), word);
    if (with_others && !own) become(with_others, argv);
    if (arguments.empty()) {
      std::fprintf(stderr, "%s", app.help().c_str());
      return static_cast<int>(ExitCode::kUsage);
    }
    catch_plugin_crashes();
    parse(app, arguments);
    set_quiet(quiet);
    set_progress_json(progress == "json");
    return execute(*chosen);
  } catch (const CLI::ParseError& error) {
    return refuse(app, error);
  } catch (const Error& error) {
    std::fprintf(stderr, "bitfall: error: %s\n", printable(error.what()).c_str());
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "bitfall: error: there is not enough memory for this\n");
    return static_cast<int>(ExitCode::kFailure);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bitfall: error: %s\n", printable(torch_message(error)).c_str());
    return static_cast<int>(ExitCode::kFailure);
  }
}

}  // namespace

int program_main(int argc, char** argv, const Commands& commands, const char* with_others) {
  const int status = run_program(argc, argv, commands, with_others);
  expect_end(status);
  return status;
}

}  // namespace bitfall
