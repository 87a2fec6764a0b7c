// What a model file says of itself: bitfall.json, a further file of a TorchScript or torch.export
// archive.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace bitfall {

/// The plugin that a head's initialiser is of; empty where its model is older than this is told.
struct PluginOfHead {
  std::string name, version, sha256;
};

/// What `bitfall head attach` records, under "head".
struct HeadCard {
  std::string module;         // where the head stands: "fc"
  std::string init;           // id of its initialiser
  std::string options;        // "cosine = false", or empty
  bool replaced_bias = true;  // whether the linear layer that stood there had a bias
  PluginOfHead plugin = {};
};

/// What export_model.py and `bitfall head attach` write; every field may be absent.
struct ModelCard {
  std::string name;
  std::array<std::int64_t, 3> input{0, 0, 0};  // C, H, W; zeros when not recorded. torch.export
                                               // itself records what it was exported with
  std::vector<std::string> classes;            // names in output order; empty when not recorded
  std::string method;                          // "script", "trace", "export"
  std::string interpolation;                   // of the recipe's resizing: "bicubic"
  std::vector<double> mean, std;               // of the recipe, a value per channel
  // What `bitfall head rescale` records, under "rescaled": the logits are those of the model of
  // this hash divided by the temperature.
  std::optional<double> temperature;
  std::optional<std::string> rescaled_from;
  std::optional<HeadCard> head;  // nothing where no head was attached
};

/// Empty where the file cannot be read or records none; opening the model says what is wrong.
ModelCard read_model_card(const std::filesystem::path& model);

/// The same as it stands there: a JSON object, empty where there is none. Warns of a card that is
/// no JSON object or nested deeper than any use of it.
nlohmann::ordered_json model_card_json(const std::filesystem::path& model);

/// C, H, W of one image: `given` ("3x224x224"), else the card's, else 3x224x224. Throws
/// Error(kUsage) where `given` is nothing of that kind.
std::array<std::int64_t, 3> input_shape(const ModelCard& card, const std::string& given);

}  // namespace bitfall
