// Exchanges the last layers of a TorchScript classifier. No LibTorch type is needed to include
// this.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "head.h"

namespace at {
class Tensor;
}

namespace bitfall {

class Program;

/// The linear layer that gives a classifier's answer.
struct LastLinear {
  std::string module;  // its path: "fc", "classifier.6"
  std::int64_t features = 0;
  std::int64_t classes = 0;
  bool bias = false;
};

/// The last linear layer of a program. Throws Error(kInput), naming `path` and what stands there
/// instead, unless the answer is made of rows of that layer's output, for these images value by
/// value, and the layer a module that runs once. images: [batch, C, H, W] of the shape that the
/// program was specialised for.
LastLinear find_last_linear(const Program& program, const at::Tensor& images,
                            const std::filesystem::path& path);

/// Images [batch, C, H, W] of values from -1 to 1, all different: where zeros would hide what a
/// model does with its input.
at::Tensor probe_images(std::int64_t batch, std::array<std::int64_t, 3> shape);

/// Writes a copy of the model `from` to `to` in which the layers stand in place of the module
/// `module`: one linear layer as that module itself, several as its submodules, by name. All else
/// keeps its name. card: text of the copy's bitfall.json. Throws Error(kInput) where the module
/// does more than one linear layer does or shares its code with another.
void replace_head(const std::filesystem::path& from, const std::string& module, const Head& layers,
                  const std::string& card, const std::filesystem::path& to);

/// The layers that replace_head() put at `module`, with the weights of now. Throws Error(kInput) if
/// there are none.
Head read_head(const std::filesystem::path& path, const std::string& module);

}  // namespace bitfall
