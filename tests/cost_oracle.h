// What torch itself counts of a TorchScript file, by make_cost_vectors.py.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace bitfall {

struct CountedCosts {
  std::int64_t parameters = 0;
  std::int64_t operations = 0;
};

/// shape: CxHxW of one image. Throws if the script fails.
inline CountedCosts counted_by_torch(const std::filesystem::path& model, const std::string& shape) {
  const std::string command = std::string("\"") + BITFALL_PYTHON + "\" \"" + BITFALL_SOURCE_DIR +
                              "/tests/make_cost_vectors.py\" \"" + model.string() + "\" " + shape;
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) throw std::runtime_error("popen failed");
  long long parameters = -1, operations = -1;
  const int read = fscanf(pipe, "%lld %lld", &parameters, &operations);
  if (pclose(pipe) != 0 || read != 2) throw std::runtime_error("failed: " + command);
  return {parameters, operations};
}

}  // namespace bitfall
