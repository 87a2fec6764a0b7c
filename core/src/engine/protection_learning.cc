#include "protection_learning.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <string>

#include "error.h"
#include "image_cache.h"
#include "plugin_calls.h"
#include "program.h"

namespace bitfall {
namespace {

int most_passes(std::span<const LearnPlace> places) {
  int most = 0;
  for (const LearnPlace& place : places) most = std::max(most, place.protection->passes());
  return most;
}

// One pass over the images.
class LearningPass {
 public:
  LearningPass(const Model& model, std::span<LearnPlace> places,
               std::vector<std::vector<double>>& scratch, int pass)
      : model_(model), places_(places), scratch_(scratch), pass_(pass) {}

  void parameters() {
    for (std::size_t i = 0; i < places_.size(); ++i) {
      const std::int32_t site = places_[i].index;
      if (site < 0 || !model_.is_weight(site)) continue;
      const at::Tensor value = model_.parameter(site).to(at::kCPU, at::kFloat).contiguous();
      show(i, value.view({1, -1}), 1);
    }
  }

  /// input: [batch, C, H, W], of which the first `count` are looked at.
  void batch(const at::Tensor& input, std::int64_t count) {
    const Program& program = model_.program();
    Slots slots = program.start(input);
    const int steps = static_cast<int>(program.steps().size());
    int done = 0;
    for (const std::size_t i : in_order()) {
      const std::int32_t site = places_[i].index;
      const int step = model_.first_step(site);
      program.run(slots, done, step);
      done = std::max(done, step);
      const int slot = model_.slots(site)[0];
      const at::Tensor value =
          by_image(slots[static_cast<std::size_t>(slot)].toTensor(), model_.images(slot));
      show(i, value, count);
    }
    program.run(slots, done, steps);
    const at::Tensor answer = program.output(slots);
    for (std::size_t i = 0; i < places_.size(); ++i) {
      if (places_[i].index < 0) show(i, answer, count);
    }
  }

 private:
  // Places of values, by the step that they are made before.
  std::vector<std::size_t> in_order() const {
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      if (places_[i].index >= 0 && !model_.is_weight(places_[i].index)) order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return model_.first_step(places_[a].index) < model_.first_step(places_[b].index);
    });
    return order;
  }

  void show(std::size_t i, const at::Tensor& values, std::int64_t count) {
    const LearnPlace& place = places_[i];
    if (pass_ >= place.protection->passes()) return;
    const at::Tensor rows = values.to(at::kCPU, at::kFloat).contiguous();
    const auto size = static_cast<std::size_t>(rows.numel() / rows.size(0));
    const PluginWork work(place.site->name.data(), -1);
    for (std::int64_t row = 0; row < count; ++row) {
      place.protection->learn(
          *place.site, pass_,
          {rows.const_data_ptr<float>() + static_cast<std::size_t>(row) * size, size}, scratch_[i]);
    }
  }

  const Model& model_;
  std::span<LearnPlace> places_;
  std::vector<std::vector<double>>& scratch_;
  int pass_;
};

void require_finite(const Dataset& images, std::int32_t first, const at::Tensor& input) {
  const at::Tensor good = at::isfinite(input).flatten(1).all(1);
  for (std::int64_t row = 0; row < good.size(0); ++row) {
    if (good[row].item<bool>()) continue;
    throw Error(ExitCode::kInput,
                "[learn]: image '" + images.name(first + static_cast<std::int32_t>(row)) +
                    "' holds NaN or Inf, of which no bounds can be learned; leave it out");
  }
}

}  // namespace

std::int64_t images_to_learn(const Dataset& images, std::span<const LearnPlace> places) {
  return static_cast<std::int64_t>(images.size()) * most_passes(places);
}

bool learn(const Model& model, const Dataset& images, std::span<LearnPlace> places,
           const std::atomic<bool>& stop, const std::function<void(std::int64_t)>& tick) {
  const c10::InferenceMode inference;
  if (images.shape() != model.input()) {
    throw Error(ExitCode::kInput,
                "the images that protections learn from have another shape than the campaign's; "
                "[data] preprocess holds for both");
  }
  std::vector<std::vector<double>> scratch;
  for (const LearnPlace& place : places) {
    scratch.emplace_back(static_cast<std::size_t>(place.protection->scratch_size(*place.site)));
  }
  const auto batch = static_cast<std::int32_t>(model.batch());
  std::int64_t looked_at = 0;
  for (int pass = 0; pass < most_passes(places); ++pass) {
    LearningPass learning(model, places, scratch, pass);
    learning.parameters();
    for (std::int32_t first = 0; first < images.size(); first += batch) {
      if (stop) return false;
      const std::int32_t count = std::min(batch, images.size() - first);
      const at::Tensor input = images_from(images, first, batch);
      if (pass == 0) require_finite(images, first, input.narrow(0, 0, count));
      learning.batch(input.to(c10::Device(model.device())), count);
      looked_at += count;
      if (tick) tick(looked_at);
    }
  }
  for (std::size_t i = 0; i < places.size(); ++i) {
    LearnPlace& place = places[i];
    const PluginWork work(place.site->name.data(), -1);
    place.state.assign(static_cast<std::size_t>(place.protection->state_size(*place.site)), 0);
    place.protection->finish(*place.site, scratch[i], place.state);
  }
  return true;
}

}  // namespace bitfall
