#include "fault_free.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "answer.h"
#include "golden.h"
#include "image_cache.h"
#include "program.h"

namespace bitfall {
bool run_fault_free(const Model& model, const Dataset& dataset, const std::atomic<bool>& stop,
                    const std::function<void(std::int32_t, std::span<const float>)>& take,
                    const std::function<void(std::int64_t)>& tick) {
  const c10::InferenceMode guard;
  const Program& program = model.program();
  const int steps = static_cast<int>(program.steps().size());
  const auto batch = static_cast<std::int32_t>(model.batch());
  for (std::int32_t first = 0; first < dataset.size(); first += batch) {
    if (stop) return false;
    const at::Tensor input = images_from(dataset, first, batch);
    Slots slots = program.start(input.to(c10::Device(model.device())));
    program.run(slots, 0, steps);
    const at::Tensor answers = program.output(slots);
    const std::int32_t count = std::min(batch, dataset.size() - first);
    for (std::int32_t row = 0; row < count; ++row) take(first + row, row_of(answers, row));
    if (tick) tick(first + count);
  }
  return true;
}

std::optional<std::vector<std::int32_t>> right_images(
    const Model& model, const Dataset& dataset, const std::atomic<bool>& stop,
    const std::function<void(std::int64_t)>& tick) {
  std::vector<std::int32_t> right;
  const auto take = [&](std::int32_t image, std::span<const float> answer) {
    if (top1(answer) == dataset.label(image)) right.push_back(image);
  };
  if (!run_fault_free(model, dataset, stop, take, tick)) return std::nullopt;
  return right;
}

}  // namespace bitfall
