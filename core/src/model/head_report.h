// What a model's head is made of and costs, next to the one linear layer that would stand there.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "head.h"
#include "head_module.h"
#include "model_card.h"
#include "model_costs.h"

namespace bitfall {

struct HeadReport {
  std::filesystem::path model;
  std::string module;
  std::optional<HeadCard> card;  // nothing: no head was attached
  Head layers;
  std::int64_t features = 0;
  std::int64_t classes = 0;
  std::int64_t vectors = 1;  // of an image that the head sees: its tokens, if it runs before a mean
  std::int64_t parameters = 0;  // of the whole model
  std::int64_t operations = 0;  // multiply-accumulates of one image
  // The same with one linear layer, features to classes, in the head's place.
  std::int64_t baseline_parameters = 0;
  std::int64_t baseline_operations = 0;
};

/// Measures. input: [C, H, W] of an image.
HeadReport head_report(const std::filesystem::path& model, std::array<std::int64_t, 3> input);

/// Multiply-accumulates of one layer for each vector that the head sees.
std::int64_t operations_per_vector(const HeadLayer& layer);

}  // namespace bitfall
