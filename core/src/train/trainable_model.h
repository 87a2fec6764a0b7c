// A TorchScript classifier that is trained. Only trainable_model.cc sees TorchScript.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace bitfall {

struct NamedTensor {
  std::string name;  // of the state_dict
  at::Tensor value;
};

class TrainableModel {
 public:
  /// `device` as torch names it. Throws Error(kInput) when the file is no scripted model: a traced
  /// one has "not training" written into its steps, a frozen one has no parameters.
  TrainableModel(const std::filesystem::path& path, const std::string& device);
  ~TrainableModel();

  /// What training changes, in the model's order.
  const std::vector<NamedTensor>& parameters() const;
  /// Parameters, trained or not, and buffers (running statistics), in the model's order.
  const std::vector<NamedTensor>& state() const;

  /// Whether dropout is on and batch norms take the statistics of their batch.
  void set_training(bool on);

  /// Logits [N, classes] of images [N, C, H, W], with the graph of their gradients where
  /// gradients are enabled. Throws Error(kInput) where the model cannot take them or answers
  /// otherwise.
  at::Tensor forward(const at::Tensor& images);

  /// Writes the model in inference mode, with `card` as its bitfall.json. Not half: under another
  /// name first.
  void save(const std::filesystem::path& path, const std::string& card);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace bitfall
