#include "network_with_data.h"

#include <algorithm>
#include <optional>

#include "config.h"
#include "error.h"
#include "log.h"
#include "model_card.h"
#include "recipe.h"
#include "store.h"
#include "text_file.h"
#include "torch_runtime.h"

namespace bitfall {
namespace {

/// The campaign of a run directory or of a file; nothing for what is neither.
std::optional<Campaign> campaign_of(const std::filesystem::path& path) {
  std::filesystem::path file = path;
  std::string text;
  if (holds_run(path)) {
    const RunDescription run = Store::open_read_only(path)->description();
    file = run.facts.campaign_file;
    text = run.campaign_text;
  } else if (path.extension() == ".toml") {
    text = read_text(path);
  } else {
    return std::nullopt;
  }
  Diagnostics diagnostics(file.string(), text);
  Campaign campaign = parse_campaign(file, text, diagnostics);
  diagnostics.throw_if_any();
  return campaign;
}

std::string label_of_path(const std::filesystem::path& path) {
  const auto whole = std::filesystem::absolute(path).lexically_normal();
  const auto name = whole.has_filename() ? whole : whole.parent_path();
  return (std::filesystem::is_directory(name) ? name.filename() : name.stem()).string();
}

/// The model's campaign, with the data that it is to be looked at on.
Campaign described(const NetworkSource& source, bool needs_data) {
  std::optional<Campaign> campaign = campaign_of(source.path);
  const bool bare = !campaign;
  if (bare) {
    campaign.emplace();
    campaign->model = source.path;
    campaign->data.preprocess = recipe_of(source.path);
  }
  if (source.data.empty()) {
    if (bare && needs_data) {
      throw Error(
          ExitCode::kUsage,
          source.path.string() +
              ": is a model, which has no images of its own; give --data CAMPAIGN.toml, "
              "whose [data] is taken, a run directory, or a folder with one folder a class");
    }
    return std::move(*campaign);
  }
  if (const auto other = campaign_of(source.data)) {
    campaign->data = other->data;
  } else {
    const Preprocess steps = recipe_of(campaign->model);
    campaign->data = DataConfig();
    campaign->data.path = source.data;
    campaign->data.preprocess = steps;
    if (steps.crop) {
      log_info(source.data.string() + ": images are " +
               (steps.resize_width ? "resized"
                                   : "resized to " + std::to_string(*steps.resize) + " and cut") +
               " to " + std::to_string(*steps.crop) + " x " + std::to_string(*steps.crop) +
               ", as the model's card asks; --data CAMPAIGN.toml says it otherwise");
    }
  }
  return std::move(*campaign);
}

/// At the batch that is asked for, else at the one that its trace holds.
std::unique_ptr<Model> opened(const Campaign& campaign, ModelOptions options) {
  for (const auto& library : campaign.model_libraries) TorchRuntime::get().load_library(library);
  options.answer.output = campaign.model_output;
  options.answer.any = campaign.model_output.empty();
  std::unique_ptr<Model> model;
  try {
    model = std::make_unique<Model>(campaign.model, options);
  } catch (const Error& error) {
    if (error.code() != ExitCode::kInput) throw;
    ModelOptions noise = options;
    noise.images.clear();
    const auto fixed = find_fixed_batch(campaign.model, noise);
    if (!fixed) throw;
    options.batch = *fixed;
    options.images.clear();
    model = std::make_unique<Model>(campaign.model, options);
  }
  return model;
}

}  // namespace

Preprocess recipe_of(const std::filesystem::path& model) {
  const ModelCard card = read_model_card(model);
  Preprocess steps;
  steps.mean = card.mean;
  steps.std = card.std;
  for (std::size_t i = 0; i < kInterpolationNames.size(); ++i) {
    if (card.interpolation == kInterpolationNames[i]) {
      steps.interpolation = static_cast<Interpolation>(i);
    }
  }
  const auto [channels, height, width] = card.input;  // zeros where not recorded
  if (channels == 1) steps.colour = "grey";
  if (height == 0) return steps;
  steps.resize = height;
  steps.resize_width = width;
  if (height != width) return steps;
  steps.crop = height;
  if (height < 128) return steps;
  steps.resize = height * 256 / 224;
  steps.resize_width.reset();
  return steps;
}

NetworkWithData open_network_with_data(const NetworkSource& source) {
  Campaign campaign = described(source, true);
  if (source.limit > 0) campaign.data.limit = source.limit;
  follow_card(campaign.data, read_model_card(campaign.model), campaign.model);
  NetworkWithData network{label_of_path(source.path), campaign.model, campaign.data, nullptr,
                          nullptr};
  network.dataset = std::make_unique<Dataset>(Dataset::open(campaign.data));
  ModelOptions options;
  options.input = network.dataset->shape();
  options.batch = std::min<std::int64_t>(source.batch, network.dataset->size());
  network.model = opened(campaign, options);
  check_classes(*network.dataset, campaign.data, campaign.model, network.model->classes(),
                read_model_card(campaign.model).classes);
  return network;
}

Preprocess preprocess_of(const NetworkSource& source) {
  Campaign campaign = described(source, false);
  follow_card(campaign.data, read_model_card(campaign.model), campaign.model);
  return campaign.data.preprocess;
}

NetworkWithData open_network_alone(const NetworkSource& source, std::array<std::int64_t, 3> input) {
  const Campaign campaign = described(source, false);
  NetworkWithData network{label_of_path(source.path), campaign.model, campaign.data, nullptr,
                          nullptr};
  ModelOptions options;
  options.input = input;
  options.batch = source.batch;
  network.model = opened(campaign, options);
  return network;
}

}  // namespace bitfall
