#include "head_features.h"

#include <cmath>

#include "error.h"
#include "fault_free.h"
#include "network_with_data.h"
#include "progress.h"
#include "stop.h"
#include "temporary_folder.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

/// y = x: a head that lets the features pass.
Head identity(std::int64_t features) {
  HeadLayer layer;
  layer.name = "features";
  layer.inputs = layer.outputs = features;
  layer.weight.assign(static_cast<std::size_t>(features * features), 0.0F);
  for (std::int64_t i = 0; i < features; ++i) {
    layer.weight[static_cast<std::size_t>(i * features + i)] = 1;
  }
  return {layer};
}

}  // namespace

LearnedFeatures features_of(const fs::path& backbone, const LastLinear& place,
                            const FeatureSource& source) {
  // Opened with its own head first, to see whether data and classes fit it.
  const NetworkWithData network = open_network_with_data({backbone, source.data, source.limit, 64});
  const Dataset& dataset = *network.dataset;
  const TemporaryFolder folder;
  const fs::path bare = folder.path() / "features.pt";
  replace_head(backbone, place.module, identity(place.features), "{}", bare);
  ModelOptions options;
  options.input = dataset.shape();
  options.batch = network.model->batch();
  options.answer.any = true;
  const Model model(bare, options);
  LearnedFeatures learned;
  learned.data_digest = dataset.digest();
  Progress progress("features: images", dataset.size(), 0);
  const bool done = run_fault_free(
      model, dataset, stop_requested,
      [&](std::int32_t image, std::span<const float> values) {
        for (const float value : values) {
          if (std::isfinite(value)) continue;
          throw Error(ExitCode::kInput, backbone.string() + ": a feature of image '" +
                                            dataset.name(image) + "' is not finite");
        }
        learned.features.values.insert(learned.features.values.end(), values.begin(), values.end());
        learned.features.labels.push_back(dataset.label(image));
      },
      [&](std::int64_t images) { progress.update(images); });
  progress.finish();
  if (!done) throw Error(ExitCode::kInterrupted, "stopped; nothing was written");
  return learned;
}

}  // namespace bitfall
