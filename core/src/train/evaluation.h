// How good a model's answers are: of the steps of an epoch, or of a data set.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <string>

#include "batch_loader.h"
#include "trainable_model.h"

namespace bitfall {

struct BatchTensors {
  at::Tensor images;  // [batch, C, H, W]
  at::Tensor labels;  // [batch]
};

/// shape: of one image. The batch must outlive what is returned where the device is the CPU.
BatchTensors on_device(const Batch& batch, std::array<std::int64_t, 3> shape,
                       const std::string& device);

/// Sums over images or steps, kept on the model's device until they are asked for.
struct EpochSums {
  at::Tensor loss;   // of steps, each times its images
  at::Tensor right;  // images
  std::int64_t images = 0;

  void add(const at::Tensor& mean_loss, const at::Tensor& logits, const at::Tensor& labels);
  double mean_loss() const { return loss.item<double>() / static_cast<double>(images); }
  double accuracy() const { return right.item<double>() / static_cast<double>(images); }
};

/// Of all images of a data set, as the model answers when it is not trained.
EpochSums evaluate(TrainableModel& model, const Dataset& dataset, std::int64_t batch,
                   std::int64_t workers, const std::string& device);

}  // namespace bitfall
