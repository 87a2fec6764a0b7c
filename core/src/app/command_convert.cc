// bitfall convert: numbers through a format, and what flipping bits does to them.
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "commands.h"
#include "component_choice.h"
#include "error.h"
#include "log.h"
#include "plugin_host.h"

namespace bitfall {
namespace {

void write_stdout(std::string_view text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (!written || std::fflush(stdout) != 0) {
    throw Error(ExitCode::kFailure, "standard output: write failed");
  }
}

ByteSource open_input(const ConvertOptions& options) {
  if (has_arguments(options)) return text_source("");
  if (!options.file.empty() && options.file != "-") return file_source(options.file);
  if (isatty(STDIN_FILENO)) log_info("reading from standard input, Ctrl-D ends it");
  return descriptor_source(STDIN_FILENO, "standard input");
}

}  // namespace

int convert_command(const ConvertOptions& options) {
  // Nothing is left half done: let an interruption end the program at once.
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  if (!options.file.empty() && !options.values.empty()) {
    throw Error(ExitCode::kUsage, "give numbers or --file, not both");
  }
  PluginHost host;
  load_plugins(host, {});
  Diagnostics diagnostics("convert", "");
  const auto format = host.make_format(
      component_choice(host, ComponentKind::kFormat, options.format, options.set), diagnostics);
  diagnostics.throw_if_any();
  const NamedFormat named{*format, options.format,
                          host.find(ComponentKind::kFormat, options.format)->summary};
  const bool from_file = !options.file.empty() && options.file != "-";
  convert(named, options, open_input(options), from_file ? options.file.string() : "standard input",
          write_stdout);
  return 0;
}

}  // namespace bitfall
