// Small TorchScript models for the tests, made once a test program by tests/make_models.py.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace bitfall {

/// The path of a model that make_models.py writes ("residual"), or of any other file beside them.
inline std::filesystem::path small_model(const std::string& name) {
  static const std::filesystem::path folder = [] {
    const auto path = std::filesystem::path(testing::TempDir()) /
                      ("bitfall_models_" + std::to_string(static_cast<long long>(::getpid())));
    const std::string command = std::string("\"") + BITFALL_PYTHON + "\" \"" + BITFALL_SOURCE_DIR +
                                "/tests/make_models.py\" \"" + path.string() + "\"";
    if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
    return path;
  }();
  return folder / (name + ".pt");
}

}  // namespace bitfall
