// Charts as PNG files.
#pragma once

#include <filesystem>
#include <string>

namespace bitfall {

/// Draws each chart of `charts` (JSON: name -> Vega-Lite specification) as FOLDER/NAME.png, 144
/// pixels per inch, each whole or not at all; makes the folder. vl-convert draws them, which needs
/// no browser and no network: a Python with the package vl-convert-python, that of $BITFALL_PYTHON,
/// of the source tree's .venv, or python3. Throws Error(kFailure) where there is none or it fails.
void write_chart_pictures(const std::string& charts, const std::filesystem::path& folder);

}  // namespace bitfall
