#include "golden.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "timer.h"

namespace bitfall {
namespace {

int step_count(const EmulatedModel& model) {
  return static_cast<int>(model.model().program().steps().size());
}

// The memory behind the tensors among these slots.
std::set<const void*> storages(const Slots& slots, const std::vector<int>& which) {
  std::set<const void*> found;
  for (const int slot : which) {
    const c10::IValue& value = slots[static_cast<std::size_t>(slot)];
    if (value.isTensor() && value.toTensor().defined()) {
      found.insert(value.toTensor().storage().data());
    }
  }
  return found;
}

}  // namespace

std::span<const float> row_of(const at::Tensor& logits, std::int64_t row) {
  return {logits.const_data_ptr<float>() + row * logits.size(1),
          static_cast<std::size_t>(logits.size(1))};
}

std::int64_t PassProfile::all_bytes() const {
  return std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0});
}

double PassProfile::seconds_behind(int step) const {
  return std::accumulate(seconds.begin() + step, seconds.end(), 0.0);
}

PassProfile profile_pass(const EmulatedModel& model, const at::Tensor& input,
                         const RowImages& images) {
  PassProfile profile;
  const auto steps = static_cast<std::size_t>(step_count(model));
  for (int round = 0; round < 2; ++round) {  // the second is warm
    double formats = 0;
    profile.bytes.assign(steps, 0);
    profile.seconds.assign(steps, 0);
    Slots slots = model.start(input, images, formats);
    for (std::size_t i = 0; i < steps; ++i) {
      const auto step = static_cast<int>(i);
      const Step& what = model.model().program().steps()[i];
      auto known = storages(slots, what.inputs);  // a view's memory is its operand's
      {
        const Timer timer(profile.seconds[i]);
        model.run(slots, step, step + 1, images, formats);
      }
      for (const int slot : what.outputs) {
        const c10::IValue& value = slots[static_cast<std::size_t>(slot)];
        if (!value.isTensor() || !value.toTensor().defined()) continue;
        const auto& memory = value.toTensor().storage();
        if (known.insert(memory.data()).second) {
          profile.bytes[i] += static_cast<std::int64_t>(memory.nbytes());
        }
      }
    }
  }
  return profile;
}

GoldenChunk::GoldenChunk(const EmulatedModel& model, const PassProfile& profile, std::int64_t chunk,
                         at::Tensor input, RowImages images, std::int64_t budget,
                         EngineCosts& costs)
    : model_(model),
      profile_(profile),
      chunk_(chunk),
      input_(std::move(input)),
      images_(std::move(images)),
      budget_(budget) {
  const double formats = costs.emulation_s;
  const auto start = Clock::now();
  const Program& program = model.model().program();
  slots_ = model.start(input_, images_, costs.emulation_s);
  if (!program.writes_in_place() && profile.all_bytes() <= budget) {
    model.run(slots_, 0, step_count(model), images_, costs.emulation_s, true);
    logits_ = program.output(slots_);
    to_ = step_count(model);
  } else {
    Slots once = program.fork(slots_, 0);
    model.run(once, 0, step_count(model), images_, costs.emulation_s);
    logits_ = program.output(once);
  }
  costs.golden_s += seconds_since(start) - (costs.emulation_s - formats);
}

// Drops what only steps before `before` read.
void GoldenChunk::release(int before) {
  const auto& lifetimes = model_.model().program().lifetimes();
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    if (lifetimes[slot].made >= 0 && lifetimes[slot].last < before) slots_[slot] = c10::IValue();
  }
}

std::int64_t GoldenChunk::held_bytes() const {
  const auto& lifetimes = model_.model().program().lifetimes();
  std::set<const void*> seen;
  std::int64_t bytes = 0;
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    const c10::IValue& value = slots_[slot];
    if (lifetimes[slot].made < 0 || !value.isTensor() || !value.toTensor().defined()) continue;
    const auto& storage = value.toTensor().storage();
    if (seen.insert(storage.data()).second) bytes += static_cast<std::int64_t>(storage.nbytes());
  }
  return bytes;
}

void GoldenChunk::advance(int step, EngineCosts& costs) {
  const double formats = costs.emulation_s;
  const auto start = Clock::now();
  // Up to the step itself nothing behind is of use but what it reads.
  if (to_ < step) model_.run(slots_, to_, step, images_, costs.emulation_s);
  to_ = std::max(to_, step);
  if (!model_.model().program().writes_in_place()) {  // else a value kept may change later
    release(step);
    std::int64_t held = held_bytes();
    while (to_ < step_count(model_)) {
      held += profile_.bytes[static_cast<std::size_t>(to_)];
      if (held > budget_) break;
      model_.run(slots_, to_, to_ + 1, images_, costs.emulation_s, true);
      ++to_;
    }
  }
  costs.golden_s += seconds_since(start) - (costs.emulation_s - formats);
}

}  // namespace bitfall
