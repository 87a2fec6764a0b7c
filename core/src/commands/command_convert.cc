// bitfall convert: numbers through a format, and what flipping bits does to them.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "component_choice.h"
#include "convert.h"
#include "error.h"
#include "file_commands.h"
#include "log.h"
#include "output.h"
#include "plugin_host.h"

namespace bitfall {
namespace {

void write_stdout(std::string_view text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), result_stream()) == text.size();
  if (!written || !flush_results()) {
    throw Error(ExitCode::kFailure, "standard output: write failed");
  }
}

ByteSource open_input(const ConvertOptions& options) {
  if (has_arguments(options)) return text_source("");
  if (!options.file.empty() && options.file != "-") return file_source(options.file);
  if (isatty(STDIN_FILENO)) log_info("reading from standard input, Ctrl-D ends it");
  return descriptor_source(STDIN_FILENO, "standard input");
}

constexpr const char* kConvertHelp =
    R"(Numbers are float32, as in a network: 1.5, -2e-3, 0x1.8p3, inf, nan, between white space or commas.
All of them together are one tensor of one dimension, for formats with scales or blocks.
Numbers in the arguments give an aligned table; a file or standard input gives tab-separated rows
below a header, converted as they come. What needs to see all numbers first holds them in memory:
a calibrated scale without --range, and a block that is the whole tensor.

Examples:
  bitfall convert fp16 0.1 -65504 --flip all
  bitfall convert int8 --range 6 --file activations.txt > codes.tsv)";

class ConvertCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app =
        parent.add_subcommand("convert", "numbers through a format, and what flips do to them");
    app->footer(kConvertHelp);
    app->add_option("format", options_.format, "a format's id, of `bitfall formats`")->required();
    app->add_option("values", options_.values, "numbers; none or -: standard input");
    app->add_option("-f,--file", options_.file, "a text file of numbers; -: standard input");
    const auto repeated = [app](const char* name, std::vector<std::string>& texts,
                                const char* help) {
      app->add_option(name, texts, help)->allow_extra_args(false);
    };
    repeated("--set", options_.set,
             "KEY=VALUE, an option of the format (`bitfall plugin info FORMAT`); may be repeated");
    app->add_flag(
        "--codes", options_.codes,
        "the input is codes: hexadecimal, with or without 0x, or all binary digits after 0b");
    repeated("--flip", options_.flips,
             "a row for each of these bits flipped: 14, 10-14, all, 0,3,7; of a metadata register: "
             "scale:3; may be repeated. Bit 0 is the least significant");
    app->add_flag("--together", options_.together, "flip all bits of --flip at once, in one row");
    app->add_option("--range", options_.range,
                    "largest magnitude, to which metadata is calibrated (default: the input's)");
    repeated(
        "--metadata", options_.metadata,
        "a metadata register for all numbers: NAME=CODE (0x7f) or NAME=NUMBER (0.5: the nearest "
        "number that a code stands for; default with --codes: 1); may be repeated");
    app->add_flag("--json", options_.json,
                  "JSON lines; NaN and infinities are \"nan\", \"inf\" and \"-inf\"");
    app->add_option("--plugin", plugins_, "further shared libraries");
    return app;
  }
  int run() override;

 private:
  std::vector<std::filesystem::path> plugins_;
  ConvertOptions options_;
};

int ConvertCommand::run() {
  if (!options_.file.empty() && !options_.values.empty()) {
    throw Error(ExitCode::kUsage, "give numbers or --file, not both");
  }
  PluginHost host;
  load_plugins(host, plugins_);
  Diagnostics diagnostics("convert", "");
  const auto format = host.make_format(
      component_choice(host, ComponentKind::kFormat, options_.format, options_.set), diagnostics);
  diagnostics.throw_if_any();
  const NamedFormat named{*format, options_.format,
                          host.find(ComponentKind::kFormat, options_.format)->summary};
  const bool from_file = !options_.file.empty() && options_.file != "-";
  convert(named, options_, open_input(options_),
          from_file ? options_.file.string() : "standard input", write_stdout);
  return 0;
}

}  // namespace

std::unique_ptr<Command> convert_command() { return std::make_unique<ConvertCommand>(); }

}  // namespace bitfall
