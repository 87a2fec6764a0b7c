// The recipe of a model's weights, which export_model.py writes into its card.
#pragma once

#include <filesystem>

#include "data_config.h"
#include "model_card.h"

namespace bitfall {

/// Takes the interpolation that the card of `model` names where `data` leaves it open, and says so;
/// warns where they differ, and where the card's mean and std are left out.
void follow_card(DataConfig& data, const ModelCard& card, const std::filesystem::path& model);

}  // namespace bitfall
