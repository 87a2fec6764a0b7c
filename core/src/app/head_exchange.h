// Another head in a model, for the commands of `bitfall head`.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "head_module.h"
#include "model_card.h"

namespace bitfall {

/// Throws Error(kInput) where the model cannot run on images of this shape (CxHxW).
void prove_runs(const std::filesystem::path& model, std::array<std::int64_t, 3> input);

/// What a new head takes the place of: the whole of a head that was attached before, else the last
/// linear layer. Throws as prove_runs() and find_last_linear() do.
LastLinear head_place(const std::filesystem::path& model, const ModelCard& card,
                      std::array<std::int64_t, 3> input);

/// Writes the layers in the place of `module`, then runs the new model once: what cannot run is not
/// left under its name.
void write_checked(const std::filesystem::path& from, const std::string& module, const Head& layers,
                   const nlohmann::ordered_json& card, std::array<std::int64_t, 3> input,
                   const std::filesystem::path& to);

/// Prints the head's layers and costs.
void print_head(const std::filesystem::path& model, std::array<std::int64_t, 3> input, bool json);

}  // namespace bitfall
