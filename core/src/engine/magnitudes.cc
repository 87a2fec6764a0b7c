#include "magnitudes.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "error.h"
#include "image_axis.h"
#include "image_cache.h"
#include "program.h"

namespace bitfall {
namespace {

void take(SiteMagnitude& of, const at::Tensor& values) {
  const at::Tensor flat = values.to(at::kCPU, at::kFloat).contiguous();
  const std::span<const float> numbers(flat.const_data_ptr<float>(),
                                       static_cast<std::size_t>(flat.numel()));
  double sum = 0;
  for (const float number : numbers) {
    const double magnitude = std::abs(static_cast<double>(number));
    if (!std::isfinite(magnitude)) {
      ++of.nonfinite;
      continue;
    }
    of.maximum = std::max(of.maximum, magnitude);
    sum += magnitude;
    ++of.values;
  }
  of.mean += sum;  // the sum, until all images are in
}

class Magnitudes {
 public:
  Magnitudes(const Model& model, const Dataset& dataset, std::span<const std::int32_t> sites)
      : model_(model), dataset_(dataset) {
    for (const std::int32_t index : sites) {
      const Site& site = model.sites()[static_cast<std::size_t>(index)];
      if (!site.refusal.empty()) {
        throw Error(ExitCode::kInput,
                    "site '" + site.name + "' cannot be looked at: " + site.refusal);
      }
      results_.push_back({index, 0, 0, 0, 0});
      if (model.is_weight(index)) {
        take(results_.back(), model.parameter(index));
      } else if (site.target == Target::kInput) {
        of_input_.push_back(results_.size() - 1);
      } else {
        of_step_[model.first_step(index)].push_back(results_.size() - 1);
      }
    }
  }

  /// Looks at the images from `first` on, as many as one pass holds.
  void pass(std::int32_t first) {
    const std::int64_t batch = model_.batch();
    const auto count = std::min<std::int64_t>(batch, dataset_.size() - first);
    const at::Tensor input = images_from(dataset_, first, batch);
    const Program& program = model_.program();
    Slots slots = program.start(input.to(c10::Device(model_.device())));
    look(of_input_, slots, count);
    int done = 0;
    for (const auto& [step, sites] : of_step_) {
      program.run(slots, done, step);
      done = step;
      look(sites, slots, count);
    }
  }

  std::vector<SiteMagnitude> finish() {
    for (SiteMagnitude& of : results_) {
      of.mean = of.values > 0 ? of.mean / static_cast<double>(of.values)
                              : std::numeric_limits<double>::quiet_NaN();
    }
    return std::move(results_);
  }

 private:
  void look(const std::vector<std::size_t>& results, const Slots& slots, std::int64_t count) {
    for (const std::size_t i : results) {
      const int slot = model_.slots(results_[i].site)[0];
      const at::Tensor images =
          by_image(slots[static_cast<std::size_t>(slot)].toTensor(), model_.images(slot));
      for (std::int64_t row = 0; row < count; ++row) take(results_[i], images[row]);
    }
  }

  const Model& model_;
  const Dataset& dataset_;
  std::vector<SiteMagnitude> results_;
  std::vector<std::size_t> of_input_;                // places in results_
  std::map<int, std::vector<std::size_t>> of_step_;  // by the step that first reads the value
};

}  // namespace

std::optional<std::vector<SiteMagnitude>> measure_magnitudes(
    const Model& model, const Dataset& dataset, std::span<const std::int32_t> sites,
    const std::atomic<bool>& stop, const std::function<void(std::int64_t)>& tick) {
  const c10::InferenceMode guard;
  Magnitudes magnitudes(model, dataset, sites);
  const auto batch = static_cast<std::int32_t>(model.batch());
  const bool weights = std::all_of(sites.begin(), sites.end(),
                                   [&](std::int32_t site) { return model.is_weight(site); });
  for (std::int32_t first = 0; first < dataset.size() && !weights; first += batch) {
    if (stop) return std::nullopt;
    magnitudes.pass(first);
    if (tick) tick(std::min(first + batch, dataset.size()));
  }
  return magnitudes.finish();
}

}  // namespace bitfall
