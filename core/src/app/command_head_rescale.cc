// bitfall head rescale: the same answers at another scale.
#include <CLI/CLI.hpp>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "all_commands.h"
#include "answer.h"
#include "atomic_file.h"
#include "error.h"
#include "fault_free.h"
#include "head_exchange.h"
#include "log.h"
#include "network_with_data.h"
#include "numbers.h"
#include "output.h"
#include "progress.h"
#include "report_json.h"
#include "sha256.h"
#include "stop.h"
#include "store.h"
#include "temperature.h"
#include "torchscript_file.h"

namespace bitfall {
namespace {

constexpr const char* kRescaleHelp =
    R"(All logits are divided by a temperature T: in the weights and bias of the last linear layer, or in
the scale behind it. No answer changes but by rounding (none at all where T is a power of two), yet
delta loss and top2diff do: a method's ratio says something only beside the baseline's at the same
scale.

Examples:
  bitfall head rescale net.pt --by 4 -o net_4.pt
  bitfall head rescale net.pt --fit nll --data held_out.toml -o net_nll.pt
  bitfall head rescale net.pt --match top2diff runs/text_guided --data campaign.toml -o net_as_guided.pt)";

class HeadRescaleCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("rescale", "divide all logits by a temperature");
    app->footer(kRescaleHelp);
    app->add_option("model", model_, "TorchScript file of a classifier")->required();
    app->add_option("-o,--output", output_, "TorchScript file to write")->required();
    auto* by = app->add_option("--by", by_, "the temperature, above 0")
                   ->check(number_between(kLeastTemperature, kMostTemperature));
    auto* fit = app->add_option("--fit", fit_, "`nll`: the one that minimises the loss on --data")
                    ->check(CLI::IsMember({"nll"}))
                    ->excludes(by);
    app->add_option("--match", match_,
                    "`nll` or `top2diff`, and a run: the one at which the model has, on --data, "
                    "what the run's network has on its images")
        ->expected(2)
        ->excludes(by)
        ->excludes(fit);
    app->add_option("--data", data_,
                    "images: a campaign file or run directory, whose [data] is taken, or a folder "
                    "with one folder a class; for --fit such as are never attacked");
    app->add_option("--limit", limit_, "number of images, taken evenly from the classes");
    app->add_option("--input", input_, kInputHelp);
    app->add_flag("--json", json_, "JSON on stdout");
    return app;
  }
  int run() override;
  bool stoppable() const override { return true; }

 private:
  struct Found {
    double temperature = 1;
    std::string how;
  };
  /// stopped: what is said where the user stops it.
  ScaledAnswers answers_of(const std::filesystem::path& model, const std::string& stopped) const;
  Found find(const ScaledAnswers& answers) const;
  /// The network's head, and what is to be known to write the network with another one.
  struct Place {
    ModelCard card;
    std::array<std::int64_t, 3> input;
    LastLinear last;
    Head layers;
  };
  Place find_head() const;
  void write(Place place, const Found& found) const;
  void print(const Found& found, const ScaledAnswers& before, const ScaledAnswers& after) const;

  std::filesystem::path model_, output_, data_;
  std::optional<double> by_;
  std::string fit_;
  std::vector<std::string> match_;
  std::int64_t limit_ = 0;
  std::string input_;
  bool json_ = false;
};

ScaledAnswers HeadRescaleCommand::answers_of(const std::filesystem::path& model,
                                             const std::string& stopped) const {
  const NetworkWithData network = open_network_with_data({model, data_, limit_});
  ScaledAnswers answers;
  Progress progress(model.filename().string() + ": images", network.dataset->size(), 0);
  const bool done = run_fault_free(
      *network.model, *network.dataset, stop_requested,
      [&](std::int32_t image, std::span<const float> logits) {
        answers.logits.emplace_back(logits.begin(), logits.end());
        answers.labels.push_back(network.dataset->label(image));
      },
      [&](std::int64_t images) { progress.update(images); });
  progress.finish();
  if (!done) throw Error(ExitCode::kInterrupted, stopped);
  return answers;
}

HeadRescaleCommand::Found HeadRescaleCommand::find(const ScaledAnswers& answers) const {
  if (by_) return {*by_, "given"};
  if (!fit_.empty()) {
    return {fit_temperature(answers),
            "smallest NLL on " + std::to_string(answers.logits.size()) + " images"};
  }
  const std::string& measure = match_[0];
  const auto store = Store::open_read_only(match_[1]);
  double nll = 0, top2diff = 0;
  std::int64_t images = 0;
  for (const GoldenResult& row : store->golden_rows()) {
    if (!std::isfinite(row.loss) || std::isnan(row.top2diff)) continue;
    nll += row.loss;
    top2diff += static_cast<double>(row.top2diff);
    ++images;
  }
  if (images == 0) {
    throw Error(ExitCode::kInput, match_[1] + ": has no answer without a fault yet");
  }
  const auto n = static_cast<double>(images);
  const bool by_nll = measure == "nll";
  return {match_temperature(answers, by_nll ? ScaleMeasure::kNll : ScaleMeasure::kTop2diff,
                            (by_nll ? nll : top2diff) / n, top2diff / n),
          measure + " " + short_text((by_nll ? nll : top2diff) / n) + " of " + match_[1]};
}

// In the scale that ends the head, else in its last linear layer.
void divide(Head& layers, double temperature) {
  if (layers.back().kind == HeadLayerKind::kScale) {
    layers.back().log_factor -= std::log(temperature);
    return;
  }
  for (auto* values : {&layers.back().weight, &layers.back().bias}) {
    for (float& value : *values) {
      value = static_cast<float>(static_cast<double>(value) / temperature);
    }
  }
}

HeadRescaleCommand::Place HeadRescaleCommand::find_head() const {
  Place place;
  place.card = read_model_card(model_);
  place.input = input_shape(place.card, input_);
  place.last = head_place(model_, place.card, place.input);
  place.layers = read_head(model_, place.last.module);
  const HeadLayerKind last = place.layers.back().kind;
  if (last == HeadLayerKind::kScale || last == HeadLayerKind::kLinear) return place;
  throw Error(ExitCode::kInput, model_.string() + ": its head ends in '" +
                                    place.layers.back().name + "', which cannot be divided");
}

void HeadRescaleCommand::write(Place place, const Found& found) const {
  divide(place.layers, found.temperature);
  nlohmann::ordered_json card = model_card_json(model_);
  const double before = place.card.temperature.value_or(1);
  card["rescaled"] = {{"temperature", before * found.temperature},
                      {"how", found.how},
                      {"model_sha256", place.card.rescaled_from.value_or(sha256_file(model_))}};
  write_checked(model_, place.last.module, place.layers, card, place.input, output_);
  log_info("wrote " + output_.string());
}

void HeadRescaleCommand::print(const Found& found, const ScaledAnswers& before,
                               const ScaledAnswers& after) const {
  std::int64_t changed = 0;
  for (std::size_t i = 0; i < before.logits.size(); ++i) {
    changed += top1(before.logits[i]) != top1(after.logits[i]);
  }
  const auto images = static_cast<std::int64_t>(before.logits.size());
  nlohmann::ordered_json json = {{"schema", "bitfall.rescale/1"},
                                 {"temperature", found.temperature},
                                 {"how", found.how},
                                 {"images", images}};
  if (images > 0) {
    json["nll"] = {before.nll(1), after.nll(1)};
    json["top2diff"] = {before.top2diff(1), after.top2diff(1)};
    json["changed_answers"] = changed;
  }
  if (json_) {
    print_result("%s\n", json_text(json).c_str());
    return;
  }
  print_result("temperature %s (%s)\n", exact_text(found.temperature).c_str(), found.how.c_str());
  if (images == 0) return;
  print_result(
      "NLL         %s -> %s nats\ntop2diff    %s -> %s\nanswers     %lld of %lld changed\n",
      short_text(before.nll(1)).c_str(), short_text(after.nll(1)).c_str(),
      short_text(before.top2diff(1)).c_str(), short_text(after.top2diff(1)).c_str(),
      static_cast<long long>(changed), static_cast<long long>(images));
}

int HeadRescaleCommand::run() {
  prove_output(output_, {model_});
  require_torchscript(model_);
  if (!by_ && fit_.empty() && match_.empty()) {
    throw Error(ExitCode::kUsage, "give --by T, --fit nll, or --match nll|top2diff RUN");
  }
  if (!match_.empty() && match_[0] != "nll" && match_[0] != "top2diff") {
    throw Error(ExitCode::kUsage, "--match " + match_[0] + ": give nll or top2diff, then the run");
  }
  if (!by_ && data_.empty()) {
    throw Error(ExitCode::kUsage,
                "--data is needed: a temperature is found on images' answers; give a campaign "
                "file, a run directory or a folder with one folder a class");
  }
  Place place = find_head();  // before the images, which take long
  ScaledAnswers before, after;
  if (!data_.empty()) before = answers_of(model_, "stopped; nothing was written");
  const Found found = find(before);
  write(std::move(place), found);
  if (!data_.empty()) {
    after = answers_of(output_, "stopped; " + output_.string() + " is written and whole");
  }
  print(found, before, after);
  return 0;
}

}  // namespace

std::unique_ptr<Command> head_rescale_command() { return std::make_unique<HeadRescaleCommand>(); }

}  // namespace bitfall
