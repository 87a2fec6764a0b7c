// A training as one HTML page: loss, accuracy and learning rate over the epochs.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "training_log.h"

namespace bitfall {

struct TrainingPage {
  std::string title;               // "baseline"
  std::vector<std::string> facts;  // a sentence each
  std::span<const EpochResult> epochs;
  std::int64_t planned = 0;  // epochs
};

/// The page's Vega-Lite specs: {"loss": {...}, "accuracy": {...}, "rate": {...}}.
std::string training_charts_json(std::span<const EpochResult> epochs);

/// As write_html_page.
void write_training_html(const TrainingPage& page, const std::optional<std::string>& bundle,
                         const std::filesystem::path& path);

}  // namespace bitfall
