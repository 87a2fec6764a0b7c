// The command line.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "commands.h"
#include "diagnostics.h"
#include "error.h"
#include "log.h"
#include "torch_message.h"

namespace {

void on_signal(int) {
  if (bitfall::stop_requested.exchange(true)) std::_Exit(130);  // the second time: at once
}

void catch_stops() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void settle_signals() {
  std::signal(SIGPIPE, SIG_DFL);
  std::signal(SIGXFSZ,
              SIG_IGN);  // a file size limit is then an error of the write, as a full disk is
}

constexpr const char* kExamples = R"(bitfall - what bit errors do to a neural network's answers

Examples:
  bitfall sites model.pt                    the places that a fault can hit
  bitfall run campaign.toml --dry-run       how many trials, how precise, how long
  bitfall run campaign.toml                 run it (Ctrl-C is safe)
  bitfall resume runs/campaign              go on after an interruption
  bitfall report runs/campaign              the tables, and report.html with charts
  bitfall compare runs/base runs/method     what a method improves, layer by layer
  bitfall replay runs/campaign --trial 7    one trial again, bit for bit
  bitfall export runs/campaign --csv        every trial as a table
  bitfall plugin info bit_flip              a plugin's options, with a snippet to copy
  bitfall convert fp16 0.1 --flip all       a number's bits, and what each flip makes of it
  bitfall head attach net.pt --init linear -o new.pt   another last layer
  bitfall embeddings clip.pth               text embeddings, before a head starts at them
  bitfall train train.toml                  train it

A campaign file needs two sections; everything else has a default:
  [model]
  path = "model.pt"      # TorchScript, from scripts/export_model.py or torch.jit
  [data]
  path = "images"        # one folder a class
)";

constexpr const char* kExitCodes =
    "Exit codes: 0 done; 1 failure; 2 command line or campaign file; 3 plugin; 4 input missing or "
    "corrupt;\n"
    "75 interrupted, go on with `bitfall resume`, or `bitfall train FILE --resume`.";

constexpr const char* kConvertHelp =
    R"(Numbers are float32, as in a network: 1.5, -2e-3, 0x1.8p3, inf, nan, between white space or commas.
All of them together are one tensor of one dimension, for formats with scales or blocks.
Numbers in the arguments give an aligned table; a file or standard input gives tab-separated rows
below a header, converted as they come. What needs to see all numbers first holds them in memory:
a calibrated scale without --range, and a block that is the whole tensor.

Examples:
  bitfall convert fp16 0.1 -65504 --flip all
  bitfall convert int8 --range 6 --file activations.txt > codes.tsv)";

constexpr const char* kInputHelp =
    "CxHxW of one image (default: recorded in the model, else 3x224x224)";

constexpr const char* kAttachHelp =
    R"(The backbone's last linear layer is found and the head takes its place, under its name; everything
else keeps its name and its weights. The initialisers: `bitfall plugin list`, their options:
`bitfall plugin info text_guided`.

Examples:
  bitfall head attach resnet50.pt --init text_guided -o guided.pt \
    --embeddings imagenet_gpt3.pth --classes imagenet_classes.json
  bitfall head attach resnet20.pt --init text_guided --set init=random --set width=512 -o random.pt
  bitfall head attach resnet20.pt --init linear -o baseline.pt)";

constexpr const char* kTrainHelp =
    R"(The directory gets model.pt (the trained model), log.csv and training.html (loss and accuracy),
checkpoint.pt and training.toml. Ctrl-C writes a checkpoint; also after a crash, --resume goes on to the
same weights on the same machine. The keys of a training file: `bitfall config --training`.

  [model]
  path = "guided.pt"      # scripted, from `bitfall head attach` or torch.jit.script
  [data]
  path = "images/train"   # one folder a class
  [validation]
  path = "images/test")";

CLI::App* add_head_attach(CLI::App& app, bitfall::HeadAttachOptions& attach) {
  CLI::App* sub = app.add_subcommand("attach", "put a head in the place of the last linear layer");
  sub->footer(kAttachHelp);
  sub->add_option("backbone", attach.backbone, "TorchScript file of a classifier")->required();
  sub->add_option("--init", attach.init, "a head initialiser's id")->required();
  sub->add_option("-o,--output", attach.output, "TorchScript file to write")->required();
  sub->add_option("--set", attach.set, "KEY=VALUE, an option of the initialiser; may be repeated")
      ->allow_extra_args(false);
  sub->add_option("--classes", attach.classes,
                  "names of the classes in the order of the answer: JSON, or one a line (default: "
                  "recorded in the backbone)");
  sub->add_option("--embeddings", attach.embeddings.table,
                  "text embeddings, a row a class: .npy, .safetensors or .pth");
  sub->add_option("--embedding-classes", attach.embeddings.classes,
                  "names of the embeddings' rows (default: the rows are the classes, in order)");
  sub->add_option("--class-map", attach.embeddings.map,
                  "JSON {class: row name, row number, or several of them}");
  sub->add_option("--embedding-key", attach.embeddings.key,
                  "the tensor's name in a file that holds several");
  sub->add_option("--seed", attach.seed, "of what is drawn at random")
      ->capture_default_str()
      ->check(CLI::Validator(
          [](const std::string& text) {
            // CLI11 takes -1 for the largest number, and what is beyond it too.
            const bool fits = text.find_first_not_of("0123456789") == text.npos && text.size() < 20;
            return fits ? std::string() : "give a whole number from 0 to 9999999999999999999";
          },
          ""));
  sub->add_option("--input", attach.input, kInputHelp);
  sub->add_option("--plugin", attach.plugins, "further shared libraries");
  sub->add_flag("--json", attach.json, "JSON on stdout");
  return sub;
}

CLI::App* add_convert(CLI::App& app, bitfall::ConvertOptions& convert) {
  CLI::App* sub =
      app.add_subcommand("convert", "numbers through a format, and what flips do to them");
  sub->footer(kConvertHelp);
  sub->add_option("format", convert.format, "a format's id, of `bitfall formats`")->required();
  sub->add_option("values", convert.values, "numbers; none or -: standard input");
  sub->add_option("-f,--file", convert.file, "a text file of numbers; -: standard input");
  const auto repeated = [&](const char* name, std::vector<std::string>& texts, const char* help) {
    sub->add_option(name, texts, help)->allow_extra_args(false);
  };
  repeated("--set", convert.set,
           "KEY=VALUE, an option of the format (`bitfall plugin info FORMAT`); may be repeated");
  sub->add_flag(
      "--codes", convert.codes,
      "the input are codes: hexadecimal, 0x being optional, or all binary digits behind 0b");
  repeated("--flip", convert.flips,
           "a row for each of these bits flipped: 14, 10-14, all, 0,3,7; of a metadata register: "
           "scale:3; may be repeated. Bit 0 is the least significant");
  sub->add_flag("--together", convert.together, "flip all bits of --flip at once, in one row");
  sub->add_option("--range", convert.range,
                  "largest magnitude, to which metadata is calibrated (default: the input's)");
  repeated("--metadata", convert.metadata,
           "NAME=CODE (0x7f) or NAME=NUMBER (0.5: the nearest that a code stands for), a metadata "
           "register for all numbers (default with --codes: what stands for 1); may be repeated");
  sub->add_flag("--json", convert.json,
                "JSON lines; what is no number is \"nan\", \"inf\" or \"-inf\"");
  return sub;
}

constexpr const char* kCompareHelp =
    R"(All runs must have seen the same images with the same labels. A layer is matched by its name, where
`backbone.` in front does not count. Trials that two arms ran alike (same image, same edits, same
place) are found one by one and compared as pairs; other trials as independent samples. The tables
say which. Improvement x = baseline / arm: above 1 the arm is better. Runs that are not complete are
compared as far as they are.

Examples:
  bitfall compare runs/baseline runs/text_guided
  bitfall compare runs/a runs/b runs/c --label base --label random --label text --markdown)";

CLI::App* add_compare(CLI::App& app, bitfall::CompareOptions& compare) {
  CLI::App* sub = app.add_subcommand("compare", "judge runs against the first, the baseline");
  sub->footer(kCompareHelp);
  sub->add_option("runs", compare.runs, "run directories, the baseline first")
      ->required()
      ->expected(2, -1);
  sub->add_option("--label", compare.labels,
                  "an arm's name, in the order of the runs (default: the directory's name); may be "
                  "repeated")
      ->allow_extra_args(false);
  sub->add_option("--html", compare.html,
                  "where to write the page (default: compare.html beside the first run directory)");
  auto* json = sub->add_flag("--json", compare.json, "JSON on stdout");
  auto* markdown =
      sub->add_flag("--markdown", compare.markdown, "markdown tables on stdout, with more columns");
  sub->add_flag("--charts", compare.charts,
                "the page's Vega-Lite charts as JSON on stdout; write nothing")
      ->excludes(json)
      ->excludes(markdown);
  markdown->excludes(json);
  return sub;
}

constexpr const char* kEmbeddingsHelp =
    R"(A table gives a row a class: the rows that stand for it, their length, and the class nearest to it
by the cosine of the angle. Of several rows each is divided by its length, and they are averaged.
Descriptions (.json, {class: [texts]}) give a row a class: texts kept, dropped and repeated.

Examples:
  bitfall embeddings scripts/quickstart/embeddings.npy \
      --embedding-classes scripts/quickstart/embeddings.classes.txt
  bitfall embeddings clip.pth --embedding-classes imagenet.json --class-map cifar10.json
  bitfall embeddings scripts/quickstart/descriptions.json)";

CLI::App* add_embeddings(CLI::App& app, bitfall::EmbeddingsOptions& options) {
  CLI::App* sub = app.add_subcommand(
      "embeddings", "text embeddings or descriptions of classes, to look at before training");
  sub->footer(kEmbeddingsHelp);
  sub->add_option("file", options.files.table,
                  "[rows, width] in .npy, .safetensors, .pth or .pt; or descriptions in .json")
      ->required();
  sub->add_option("--classes", options.classes,
                  "the classes of the task in order: a JSON array, or a text, a name a line "
                  "(default: all that the file, its list or its map names)");
  sub->add_option("--embedding-classes", options.files.classes,
                  "the names of the file's rows in order, as a list of the same kind");
  sub->add_option("--class-map", options.files.map,
                  "JSON {class: row}, a row by its name or its number from 0, or an array of rows");
  sub->add_option("--key,--embedding-key", options.files.key,
                  "which tensor, if the file has several");
  sub->add_flag("--json", options.json, "JSON on stdout");
  return sub;
}

/// The arguments in reverse, as CLI11 takes them. A number such as -inf or -.5 looks like an option
/// to it; behind a blank it does not, and reads as the same number.
std::vector<std::string> command_line(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  for (std::string& argument : arguments) {
    if (arguments.front() != "convert") break;
    if (argument.starts_with('-') && bitfall::parse_real(argument)) argument.insert(0, 1, ' ');
  }
  std::reverse(arguments.begin(), arguments.end());
  return arguments;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace bitfall;
  CLI::App app{kExamples};
  app.name("bitfall");
  app.footer(kExitCodes);
  app.require_subcommand(1);
  app.set_version_flag("--version", "bitfall " BITFALL_VERSION);
  bool quiet = false;
  app.add_flag("-q,--quiet", quiet, "no progress and no notes on stderr, only warnings and errors");
  int status = 0;
  bool json = false;

  RunOptions run;
  auto* run_app = app.add_subcommand("run", "run a campaign file to its end");
  run_app->add_option("campaign", run.campaign, "the campaign file (TOML)")->required();
  run_app->add_option(
      "--faults", run.faults,
      "run exactly this fault list (CSV: site,image,target,element,register,op,mask)");
  run_app->add_option("-o,--output", run.output, "run directory, instead of [campaign] output");
  run_app->add_flag("--dry-run", run.dry_run,
                    "print population, trials, interval widths and time; write nothing");
  run_app->add_flag("--force", run.force, "replace the run that the directory holds");
  run_app->add_option("--shard", run.shard,
                      "I/N: only the I-th of N parts of the campaign, into a run directory of its "
                      "own; `bitfall merge` joins them to what one run gives");
  run_app->add_flag("--explain", run.explain,
                    "at the end: where the time went, and how many trials were spared a run");
  run_app->add_flag("--json", run.json, "with --dry-run: JSON");
  run_app->callback([&] { status = run_command(run); });

  std::filesystem::path directory;
  const auto reading = [&](CLI::App* sub) {
    sub->add_option("run", directory, "the run directory")->required();
  };

  auto* resume_app = app.add_subcommand("resume", "go on with an interrupted run");
  reading(resume_app);
  resume_app->callback([&] { status = resume_command(directory); });

  MergeOptions merge;
  auto* merge_app = app.add_subcommand("merge", "join the shards of a campaign to one run");
  merge_app->add_option("runs", merge.runs, "the shards' run directories, all of them")->required();
  merge_app->add_option("-o,--output", merge.output, "run directory of the whole")->required();
  merge_app->callback([&] { status = merge_command(merge); });

  auto* status_app = app.add_subcommand("status", "how far a run is, and the digest of its trials");
  reading(status_app);
  status_app->add_flag("--json", json, "JSON on stdout");
  status_app->callback([&] { status = status_command(directory, json); });

  ReportOptions report;
  auto* report_app = app.add_subcommand("report", "print a run's tables and write its HTML page");
  report_app->add_option("run", report.run, "the run directory")->required();
  report_app->add_option("--html", report.html,
                         "where to write the page (default: RUN/report.html)");
  report_app->add_flag("--json", report.json, "JSON on stdout");
  report_app->add_flag("--markdown", report.markdown, "a markdown table on stdout");
  report_app->add_flag("--charts", report.charts,
                       "the page's Vega-Lite charts as JSON on stdout; write nothing");
  report_app->callback([&] { status = report_command(report); });

  CompareOptions comparison;
  add_compare(app, comparison)->callback([&] { status = compare_command(comparison); });

  std::int64_t trial = 0;
  auto* replay_app =
      app.add_subcommand("replay", "run one stored trial again and compare every bit");
  reading(replay_app);
  replay_app->add_option("--trial", trial, "the trial's number")->required();
  replay_app->add_flag("--json", json, "JSON on stdout");
  replay_app->callback([&] { status = replay_command(directory, trial, json); });

  std::filesystem::path output;
  bool csv = false, jsonl = false, faults = false;
  auto* export_app = app.add_subcommand("export", "every trial as a table, a row an edit");
  reading(export_app);
  auto* kinds = export_app->add_option_group("format", "one of");
  kinds->add_flag("--csv", csv, "CSV with a header");
  kinds->add_flag("--jsonl", jsonl, "a JSON object a line");
  kinds->add_flag("--faults", faults, "the fault list, for `bitfall run CAMPAIGN --faults`");
  kinds->require_option(1);
  export_app->add_option("-o,--output", output, "file (default: stdout)");
  export_app->callback([&] {
    status = export_command(directory,
                            csv     ? ExportFormat::kCsv
                            : jsonl ? ExportFormat::kJsonl
                                    : ExportFormat::kFaults,
                            output);
  });

  SitesOptions sites;
  auto* sites_app = app.add_subcommand("sites", "the places of a model that a fault can hit");
  sites_app->add_option("model", sites.model, "TorchScript file")->required();
  sites_app->add_option("--input", sites.input, kInputHelp);
  sites_app->add_option("--format", sites.format,
                        "number format for the column of bits (default fp32)");
  sites_app->add_option("--operations", sites.operations,
                        "kinds, comma-separated: conv,linear,matmul,softmax,add,... or *");
  sites_app->add_flag("--all", sites.all, "every operation");
  sites_app->add_flag("--json", sites.json, "JSON on stdout");
  sites_app->callback([&] { status = sites_command(sites); });

  auto* formats_app = app.add_subcommand("formats", "the number formats");
  bool markdown = false;
  formats_app->add_flag("--json", json, "JSON on stdout");
  formats_app->add_flag("--markdown", markdown, "the table of formats/README.md on stdout")
      ->excludes("--json");
  formats_app->callback([&] { status = formats_command(json, markdown); });

  ConvertOptions convert;
  add_convert(app, convert)->callback([&] { status = convert_command(convert); });

  EmbeddingsOptions embeddings;
  add_embeddings(app, embeddings)->callback([&] { status = embeddings_command(embeddings); });

  HeadAttachOptions attach;
  HeadFuseOptions fuse;
  HeadInfoOptions head_info;
  auto* head_app = app.add_subcommand("head", "exchange a classifier's last layer");
  head_app->require_subcommand(1);
  add_head_attach(*head_app, attach)->callback([&] { status = head_attach_command(attach); });
  auto* fuse_app = head_app->add_subcommand(
      "fuse", "make one linear layer of a head that is linear, for inference");
  fuse_app->add_option("model", fuse.model, "a model with a head")->required();
  fuse_app->add_option("-o,--output", fuse.output, "TorchScript file to write")->required();
  fuse_app->add_option("--input", fuse.input, kInputHelp);
  fuse_app->add_flag("--json", fuse.json, "JSON on stdout");
  fuse_app->callback([&] { status = head_fuse_command(fuse); });
  auto* head_info_app = head_app->add_subcommand(
      "info", "a head's layers, and what the model costs beside one linear layer in its place");
  head_info_app->add_option("model", head_info.model, "TorchScript file")->required();
  head_info_app->add_option("--input", head_info.input, kInputHelp);
  head_info_app->add_flag("--json", head_info.json, "JSON on stdout");
  head_info_app->callback([&] { status = head_info_command(head_info); });

  TrainOptions train;
  auto* train_app = app.add_subcommand("train", "train a scripted classifier");
  train_app->footer(kTrainHelp);
  train_app->add_option("training", train.training, "the training file (TOML)")->required();
  train_app->add_option("-o,--output", train.output, "directory, instead of [training] output");
  auto* resume_flag = train_app->add_flag("--resume", train.resume,
                                          "go on from the directory's checkpoint, if it has one");
  train_app->add_flag("--force", train.force, "start anew, replacing what the directory holds")
      ->excludes(resume_flag);
  train_app->add_flag("--json", train.json, "a JSON object an epoch on stdout");
  train_app->callback([&] { status = train_command(train); });

  auto* config_app =
      app.add_subcommand("config", "the keys of a campaign or training file, with defaults");
  bool training_file = false;
  config_app->add_flag("--training", training_file, "of a training file, for `bitfall train`");
  config_app->callback([&] { status = config_command(training_file); });

  std::vector<std::filesystem::path> plugins;
  std::string id;
  auto* plugin_app = app.add_subcommand(
      "plugin", "formats, error models, metrics and head initialisers that are installed");
  plugin_app->require_subcommand(1);
  auto* list_app =
      plugin_app->add_subcommand("list", "all components, and files that were refused");
  list_app->add_option("--plugin", plugins, "further shared libraries");
  list_app->add_flag("--json", json, "JSON on stdout");
  list_app->callback([&] { status = plugin_list_command(plugins, json); });
  auto* info_app =
      plugin_app->add_subcommand("info", "a component's options, with a snippet to copy");
  info_app->add_option("id", id, "a component's id, or kind/id")->required();
  info_app->add_option("--plugin", plugins, "further shared libraries");
  info_app->add_flag("--json", json, "JSON on stdout");
  info_app->callback([&] { status = plugin_info_command(id, plugins, json); });

  auto* env_app = app.add_subcommand("env", "versions and settings, for bug reports");
  env_app->add_flag("--json", json, "JSON on stdout");
  env_app->callback([&] { status = env_command(json); });

  for (CLI::App* sub : app.get_subcommands({})) sub->fallthrough();
  app.parse_complete_callback([&] {
    set_quiet(quiet);
    // These end what they have begun; any other command may be killed at any time.
    const bool stoppable =
        run_app->parsed() || resume_app->parsed() || replay_app->parsed() || train_app->parsed();
    if (stoppable) catch_stops();
  });
  settle_signals();
  if (argc == 1) {
    std::fprintf(stderr, "%s", app.help().c_str());
    return static_cast<int>(ExitCode::kUsage);
  }
  std::vector<std::string> known;
  for (const CLI::App* sub : app.get_subcommands({})) known.push_back(sub->get_name());
  const std::string first = argv[1];
  if (first[0] != '-' && std::find(known.begin(), known.end(), first) == known.end()) {
    const std::string near = nearest(first, known);
    std::fprintf(stderr, "bitfall: unknown command '%s'%s\ntry: bitfall --help\n", first.c_str(),
                 near.empty() ? "" : (", did you mean '" + near + "'?").c_str());
    return static_cast<int>(ExitCode::kUsage);
  }
  try {
    app.parse(command_line(argc, argv));
    if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
      throw Error(ExitCode::kFailure, "standard output: write failed");
    }
    return status;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::string command = "bitfall";
    for (const CLI::App* sub = &app; !sub->get_subcommands().empty();) {
      sub = sub->get_subcommands().front();
      command += " " + sub->get_name();
    }
    std::fprintf(stderr, "bitfall: %s\ntry: %s --help\n", error.what(), command.c_str());
    return static_cast<int>(ExitCode::kUsage);
  } catch (const Error& error) {
    std::fprintf(stderr, "bitfall: error: %s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bitfall: error: %s\n", torch_message(error).c_str());
    return static_cast<int>(ExitCode::kFailure);
  }
}
