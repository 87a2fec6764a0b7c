// bitfall train.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "error.h"
#include "log.h"
#include "report_number.h"
#include "shell_word.h"
#include "text_file.h"
#include "trainer.h"
#include "training_page.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

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
  if (fs::exists(training.output / "campaign.sqlite")) {
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
  if (!begun) return;
  throw Error(ExitCode::kUsage, training.output.string() +
                                    ": holds a training already; go on with --resume, or start "
                                    "anew with --force");
}

void write_page(const Training& training, const Trainer& trainer) {
  const std::string steps = std::to_string(trainer.images() / training.batch);
  TrainingPage page;
  page.title = training.output.filename().string();
  page.facts = {training.model.string() + " on " + std::to_string(trainer.images()) +
                    " images of " + training.data.path.string(),
                std::to_string(training.epochs) + " epochs of " + steps + " steps, batch " +
                    std::to_string(training.batch) + ", seed " + std::to_string(training.seed) +
                    ", " + training.device};
  page.epochs = trainer.epochs();
  page.planned = training.epochs;
  write_training_html(page, vega_bundle(), training.output / "training.html");
}

}  // namespace

int train_command(const TrainOptions& options) {
  const std::string text = read_text(options.training);
  Diagnostics diagnostics(options.training.string(), text);
  Training training = parse_training(options.training, text, diagnostics);
  diagnostics.throw_if_any();
  if (!options.output.empty()) training.output = options.output;
  check_directory(training, options);

  Trainer trainer(training, options.resume);
  log_info(std::to_string(trainer.parameters()) + " parameters, " +
           std::to_string(trainer.images()) + " images, " +
           (training.validation ? std::to_string(trainer.validation_images()) + " for validation, "
                                : "") +
           std::to_string(training.epochs) + " epochs; " + training.device + ", " +
           std::to_string(trainer.threads()) + " threads; in " + training.output.string());
  if (trainer.epochs_done() > 0) {
    log_info("going on behind epoch " + std::to_string(trainer.epochs_done()));
  }
  const TrainEnd end = trainer.run(stop_requested, [&](const EpochResult& result) {
    write_page(training, trainer);
    const std::string line =
        options.json ? epoch_json(result).dump() : epoch_text(result, training.epochs);
    make_room();
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  });
  if (end == TrainEnd::kInterrupted) {
    log_info("stopped; go on with: bitfall train " + shell_word(options.training.string()) +
             (options.output.empty() ? "" : " -o " + shell_word(options.output.string())) +
             " --resume");
    return static_cast<int>(ExitCode::kInterrupted);
  }
  write_page(training, trainer);  // also where nothing was left to do
  log_info("wrote " + (training.output / "model.pt").string() + " and " +
           (training.output / "training.html").string());
  return 0;
}

}  // namespace bitfall
