#include "model_card.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "error.h"
#include "json_file.h"
#include "exported_program.h"
#include "log.h"
#include "zip_archive.h"

namespace bitfall {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::string text_of(const OrderedJson& json, const char* key) {
  return json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
}

std::vector<double> numbers_of(const OrderedJson& json, const char* key) {
  std::vector<double> numbers;
  if (!json.contains(key) || !json[key].is_array()) return numbers;
  for (const OrderedJson& number : json[key]) {
    if (number.is_number()) numbers.push_back(number);
  }
  return numbers;
}

std::optional<HeadCard> head_of(const OrderedJson& json) {
  HeadCard head{text_of(json, "module"), text_of(json, "init"), text_of(json, "options"), true};
  if (head.module.empty()) return std::nullopt;
  if (json.contains("replaced_bias") && json["replaced_bias"].is_boolean()) {
    head.replaced_bias = json["replaced_bias"];
  }
  if (json.contains("plugin") && json["plugin"].is_object()) {
    const OrderedJson& plugin = json["plugin"];
    head.plugin = {text_of(plugin, "name"), text_of(plugin, "version"), text_of(plugin, "sha256")};
  }
  return head;
}

// What the file says without a card.
std::array<std::int64_t, 3> exported_input_of(const std::filesystem::path& model) {
  std::array<std::int64_t, 3> input{};
  try {
    with_archive(model, [&](const ZipArchive& archive) { input = exported_input(archive); });
  } catch (const Error&) {
  }
  return input;
}

}  // namespace

OrderedJson model_card_json(const std::filesystem::path& model) {
  std::string text;
  try {
    with_archive(model, [&](const ZipArchive& archive) {
      const std::string name = archive.find("/extra/bitfall.json");
      if (!name.empty()) text = archive.read(name);
    });
  } catch (const Error&) {
  }
  if (text.empty()) return OrderedJson::object();
  bool deep = false;
  const auto check = [&](int depth, OrderedJson::parse_event_t, OrderedJson&) {
    deep |= depth > kDeepestJson;
    return !deep;
  };
  OrderedJson card = OrderedJson::parse(text, check, false);
  if (!deep && card.is_object()) return card;
  static std::set<std::string> named;
  if (!named.insert(model.string()).second) return OrderedJson::object();
  log_warning(model.string() + ": its bitfall.json is not a JSON object that an exporter writes; "
              "it is not used");
  return OrderedJson::object();
}

ModelCard read_model_card(const std::filesystem::path& model) {
  ModelCard card;
  const OrderedJson json = model_card_json(model);
  card.name = text_of(json, "name");
  card.method = text_of(json, "method");
  if (json.contains("input") && json["input"].is_array() && json["input"].size() == 3) {
    const OrderedJson& input = json["input"];
    const bool counts = std::all_of(input.begin(), input.end(), [](const OrderedJson& size) {
      return size.is_number_integer() && size.get<std::int64_t>() > 0;
    });
    if (counts) card.input = input.get<std::array<std::int64_t, 3>>();
  }
  if (card.input[0] == 0) card.input = exported_input_of(model);
  if (json.contains("classes") && json["classes"].is_array()) {
    for (const OrderedJson& name : json["classes"]) {
      if (name.is_string()) card.classes.push_back(name);
    }
  }
  if (json.contains("preprocess")) {
    const OrderedJson& recipe = json["preprocess"];
    card.interpolation = text_of(recipe, "interpolation");
    card.mean = numbers_of(recipe, "mean");
    card.std = numbers_of(recipe, "std");
  }
  if (json.contains("rescaled") && json["rescaled"].is_object()) {
    const OrderedJson& rescaled = json["rescaled"];
    const std::string from = text_of(rescaled, "model_sha256");
    if (rescaled.contains("temperature") && rescaled["temperature"].is_number() && !from.empty()) {
      card.temperature = rescaled["temperature"].get<double>();
      card.rescaled_from = from;
    }
  }
  if (json.contains("head")) card.head = head_of(json["head"]);
  return card;
}

std::array<std::int64_t, 3> input_shape(const ModelCard& card, const std::string& given) {
  if (given.empty()) {
    return card.input[0] > 0 ? card.input : std::array<std::int64_t, 3>{3, 224, 224};
  }
  std::array<std::int64_t, 3> shape{};
  std::stringstream in(given);
  char x1 = 0, x2 = 0;
  in >> shape[0] >> x1 >> shape[1] >> x2 >> shape[2];
  if (!in || x1 != 'x' || x2 != 'x' || in.peek() != EOF || shape[0] < 1 || shape[1] < 1 ||
      shape[2] < 1) {
    throw Error(ExitCode::kUsage,
                "--input " + given + ": give channels x height x width, such as 3x224x224");
  }
  return shape;
}

}  // namespace bitfall
