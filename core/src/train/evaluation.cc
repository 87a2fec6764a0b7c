#include "evaluation.h"

#include <ATen/core/grad_mode.h>

namespace bitfall {

BatchTensors on_device(const Batch& batch, std::array<std::int64_t, 3> shape,
                       const std::string& device) {
  const auto count = static_cast<std::int64_t>(batch.labels.size());
  const auto tensor = [&](const auto& values, at::IntArrayRef sizes, at::ScalarType type) {
    return at::from_blob(const_cast<void*>(static_cast<const void*>(values.data())), sizes, type)
        .to(at::Device(device));
  };
  return {tensor(batch.images, {count, shape[0], shape[1], shape[2]}, at::kFloat),
          tensor(batch.labels, {count}, at::kLong)};
}

void EpochSums::add(const at::Tensor& mean_loss, const at::Tensor& logits,
                    const at::Tensor& labels) {
  const auto count = labels.size(0);
  const at::Tensor part = mean_loss.detach().to(at::kDouble) * static_cast<double>(count);
  const at::Tensor hits = logits.detach().argmax(1).eq(labels).sum();
  loss = loss.defined() ? loss + part : part;
  right = right.defined() ? right + hits : hits;
  images += count;
}
EpochSums evaluate(TrainableModel& model, const Dataset& dataset, std::int64_t batch,
                   std::int64_t workers, const std::string& device) {
  const at::NoGradGuard no_gradients;
  model.set_training(false);
  EpochSums sums;
  BatchLoader loader(dataset, batch, workers);
  while (const auto loaded = loader.next()) {
    const auto [images, labels] = on_device(*loaded, dataset.shape(), device);
    const at::Tensor logits = model.forward(images);
    sums.add(at::cross_entropy_loss(logits, labels), logits, labels);
  }
  return sums;
}

}  // namespace bitfall
