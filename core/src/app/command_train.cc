// bitfall train.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "all_commands.h"
#include "atomic_file.h"
#include "error.h"
#include "html_page.h"
#include "json_file.h"
#include "log.h"
#include "output.h"
#include "report_number.h"
#include "stop.h"
#include "text_file.h"
#include "trainer.h"
#include "training_page.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

struct TrainOptions {
  fs::path training;
  fs::path output;  // empty = the file's
  bool resume = false;
  bool force = false;
  bool json = false;
};

std::string epoch_text(const EpochResult& result, std::int64_t epochs) {
  char text[160];
  int length = std::snprintf(text, sizeof text, "epoch %*lld/%lld  loss %.4f  accuracy %5.2f %%",
                             static_cast<int>(std::to_string(epochs).size()),
                             static_cast<long long>(result.epoch), static_cast<long long>(epochs),
                             result.loss, 100 * result.accuracy);
  std::string line(text, static_cast<std::size_t>(length));
  if (result.validation_loss == result.validation_loss) {
    std::snprintf(text, sizeof text, "  validation loss %.4f  accuracy %5.2f %%",
                  result.validation_loss, 100 * result.validation_accuracy);
    line += text;
  }
  std::snprintf(text, sizeof text, "  %.0f images/s", result.images_per_second);
  return line + text;
}

nlohmann::ordered_json epoch_json(const EpochResult& result) {
  const auto number = [](double value) {
    return value == value ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
  };
  return {{"epoch", result.epoch},
          {"step", result.step},
          {"learning_rate", result.learning_rate},
          {"loss", result.loss},
          {"accuracy", result.accuracy},
          {"validation_loss", number(result.validation_loss)},
          {"validation_accuracy", number(result.validation_accuracy)},
          {"seconds", result.seconds},
          {"images_per_second", result.images_per_second},
          {"waited_seconds", result.waited_seconds}};
}

/// What is in the way of a fresh start: nothing, or a training that --resume or --force decides on.
void check_directory(const Training& training, const TrainOptions& options) {
  const bool begun = fs::exists(training.output / "checkpoint.pt");
  if (holds_run(training.output)) {
    throw Error(ExitCode::kUsage,
                training.output.string() + ": holds a campaign; give another directory with -o");
  }
  if (options.resume || options.force) return;
  for (const char* name : kTrainingFiles) {
    if (begun || !fs::exists(training.output / name)) continue;
    throw Error(ExitCode::kUsage,
                training.output.string() + ": holds a " + name +
                    " that would be replaced, and no checkpoint of a training; give another "
                    "directory with -o, or replace it with --force");
  }
  if (!begun && !absent_or_equal(training.output / "training.toml", training.text)) {
    throw Error(ExitCode::kUsage,
                training.output.string() +
                    ": holds another training.toml that would be replaced, and no checkpoint of a "
                    "training; give another directory with -o, or replace it with --force");
  }
  if (!begun) return;
  throw Error(ExitCode::kUsage, training.output.string() +
                                    ": holds a training already; go on with --resume, or start "
                                    "again with --force");
}

void write_page(const Training& training, const Trainer& trainer) {
  const std::int64_t whole = training.batch * training.accumulate;
  const std::string steps = std::to_string(trainer.images() / whole);
  TrainingPage page;
  page.title = training.output.filename().string();
  page.facts = {training.model.string() + " on " + std::to_string(trainer.images()) +
                    " images of " + training.data.path.string(),
                std::to_string(training.epochs) + " epochs of " + steps + " steps, batch " +
                    std::to_string(training.batch) +
                    (training.accumulate > 1 ? " x " + std::to_string(training.accumulate) : "") +
                    ", seed " + std::to_string(training.seed) + ", " + training.device};
  page.epochs = trainer.epochs();
  page.planned = training.epochs;
  write_training_html(page, vega_bundle(), training.output / "training.html");
}

constexpr const char* kTrainHelp =
    R"(The directory gets model.pt (the trained model), log.csv and training.html (loss and accuracy),
checkpoint.pt and training.toml. Ctrl-C writes a checkpoint; also after a crash, --resume goes on to the
same weights on the same machine. The keys of a training file: `bitfall config --training`.

  [model]
  path = "guided.pt"      # scripted, from `bitfall head attach` or torch.jit.script
  [data]
  path = "images/train"   # one folder per class
  [validation]
  path = "images/test")";

class TrainCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("train", "train a scripted classifier");
    app->footer(kTrainHelp);
    app->add_option("training", options_.training, "the training file (TOML)")->required();
    app->add_option("-o,--output", options_.output, "directory, instead of [training] output");
    auto* resume = app->add_flag("--resume", options_.resume,
                                 "continue from the directory's checkpoint, if it has one");
    app->add_flag("--force", options_.force, "start again, replacing what the directory holds")
        ->excludes(resume);
    app->add_flag("--json", options_.json, "one JSON object per epoch on stdout");
    return app;
  }
  bool stoppable() const override { return true; }
  int run() override;

 private:
  TrainOptions options_;
};

int TrainCommand::run() {
  const std::string text = read_text(options_.training);
  Diagnostics diagnostics(options_.training.string(), text);
  Training training = parse_training(options_.training, text, diagnostics);
  diagnostics.throw_if_any();
  if (!options_.output.empty()) training.output = options_.output;
  check_directory(training, options_);

  Trainer trainer(training, options_.resume);
  log_info(std::to_string(trainer.parameters()) + " parameters, " +
           std::to_string(trainer.images()) + " images, " +
           (training.validation ? std::to_string(trainer.validation_images()) + " for validation, "
                                : "") +
           std::to_string(training.epochs) + " epochs; " + training.device + ", " +
           std::to_string(trainer.threads()) + " threads; in " + training.output.string());
  if (trainer.epochs_done() > 0) {
    log_info("going on after epoch " + std::to_string(trainer.epochs_done()));
  }
  const TrainEnd end = trainer.run(stop_requested, [&](const EpochResult& result) {
    write_page(training, trainer);
    const std::string line =
        options_.json ? json_text(epoch_json(result), -1) : epoch_text(result, training.epochs);
    make_room();
    print_result("%s\n", line.c_str());
    flush_results();
  });
  if (end == TrainEnd::kInterrupted) {
    log_info("stopped; go on with: bitfall train " + shell_word(options_.training.string()) +
             (options_.output.empty() ? "" : " -o " + shell_word(options_.output.string())) +
             " --resume");
    return static_cast<int>(ExitCode::kInterrupted);
  }
  write_page(training, trainer);  // also where nothing was left to do
  log_info("wrote " + (training.output / "model.pt").string() + " and " +
           (training.output / "training.html").string());
  return 0;
}

}  // namespace

std::unique_ptr<Command> train_command() { return std::make_unique<TrainCommand>(); }

}  // namespace bitfall
