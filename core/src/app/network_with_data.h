// A network and the images that it is to be looked at on, without a campaign: what `profile` and
// `cam` start from.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "data_config.h"
#include "dataset.h"
#include "model.h"

namespace bitfall {

struct NetworkSource {
  std::filesystem::path path;  // a run directory, a campaign file (.toml), or a model
  std::filesystem::path data;  // of a model (and in place of a run's or a campaign's own): a run
                               // directory, a campaign file, or a folder of classes
  std::int64_t limit = 0;      // images; 0 = as the data say
  std::int64_t batch = 16;     // images a pass
};

struct NetworkWithData {
  std::string label;  // of the source: its name without folder and extension
  std::filesystem::path model_path;
  DataConfig data;
  std::unique_ptr<Dataset> dataset;  // null where open_network_alone() made it
  std::unique_ptr<Model> model;
};

/// Throws Error(kUsage) where a model has no data, and what the parts throw.
NetworkWithData open_network_with_data(const NetworkSource& source);

/// The preprocessing of a source's images, for such as come as files.
Preprocess preprocess_of(const NetworkSource& source);
/// The network alone, for images [C, H, W].
NetworkWithData open_network_alone(const NetworkSource& source, std::array<std::int64_t, 3> input);

/// What the card of a model says of preprocessing: mean, std, interpolation, and the input's size
/// (the shorter side is resized to 256 / 224 of it, then the middle is cut out, where it is 128
/// pixels and more; smaller images are resized to it). Nothing is resized where it records no size.
Preprocess recipe_of(const std::filesystem::path& model);

}  // namespace bitfall
