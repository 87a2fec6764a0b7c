#include "golden.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>

#include "timer.h"

namespace bitfall {
namespace {

int step_count(const EmulatedModel& model) {
  return static_cast<int>(model.model().program().steps().size());
}

// The memory of the tensors among these slots.
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

std::int64_t StepCosts::all_bytes() const {
  return std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0});
}

double StepCosts::seconds_from(int step) const {
  return std::accumulate(seconds.begin() + step, seconds.end(), 0.0);
}

MeasuredPass measure_pass(const EmulatedModel& model, const at::Tensor& input,
                          const RowImages& images, std::int64_t budget) {
  const Program& program = model.model().program();
  const auto steps = static_cast<std::size_t>(step_count(model));
  MeasuredPass pass;
  pass.costs.bytes.assign(steps, 0);
  pass.costs.seconds.assign(steps, 0);
  pass.slots = model.start(input, images, pass.formats_s);
  std::int64_t held = 0;
  std::optional<Slots> rest;                                          // beyond what is kept
  if (program.writes_in_place()) rest = program.fork(pass.slots, 0);  // a value may change later
  for (std::size_t i = 0; i < steps; ++i) {
    const auto step = static_cast<int>(i);
    const Step& what = program.steps()[i];
    Slots& slots = rest ? *rest : pass.slots;
    auto known = storages(slots, what.reads);  // a view's memory is its operand's
    {
      const Timer timer(pass.costs.seconds[i]);
      model.run(slots, step, step + 1, images, pass.formats_s, !rest);
    }
    for (const int slot : what.outputs) {
      const c10::IValue& value = slots[static_cast<std::size_t>(slot)];
      if (!value.isTensor() || !value.toTensor().defined()) continue;
      const auto& memory = value.toTensor().storage();
      if (known.insert(memory.data()).second) {
        pass.costs.bytes[i] += static_cast<std::int64_t>(memory.nbytes());
      }
    }
    if (rest) continue;
    held += pass.costs.bytes[i];
    pass.to = step + 1;
    if (held > budget && pass.to < step_count(model)) rest = program.fork(pass.slots, pass.to);
  }
  pass.logits = program.output(rest ? *rest : pass.slots);
  return pass;
}

GoldenChunk::GoldenChunk(const EmulatedModel& model, const StepCosts& step_costs,
                         std::int64_t chunk, at::Tensor input, RowImages images,
                         std::int64_t budget, GoldenKeep* keep, EngineCosts& costs,
                         std::optional<MeasuredPass> measured)
    : model_(model),
      step_costs_(step_costs),
      chunk_(chunk),
      input_(std::move(input)),
      images_(std::move(images)),
      budget_(budget),
      keep_(keep) {
  images_.golden = true;
  if (measured) {
    take(std::move(*measured), costs);
  } else {
    run_first(costs);
  }
  if (to_ == step_count(model) && keep != nullptr && &keep->model() == &model) {
    keep->put(chunk, slots_, held_bytes());
  }
}

void GoldenChunk::run_first(EngineCosts& costs) {
  const PartTimer timer(costs.golden_s, costs);
  const Program& program = model_.model().program();
  if (keep_ != nullptr) before_ = keep_->of(chunk_);
  slots_ = before_ ? model_.start_beside(*before_, input_, images_, costs.emulation_s)
                   : model_.start(input_, images_, costs.emulation_s);
  if (!program.writes_in_place()) keep_ahead(0, costs);
  if (to_ == step_count(model_)) {
    logits_ = program.output(slots_);
  } else {  // the answers are needed at once: the rest is computed once more when steps move on
    Slots once = program.fork(slots_, to_);
    model_.run(once, to_, step_count(model_), images_, costs.emulation_s);
    logits_ = program.output(once);
  }
}

void GoldenChunk::take(MeasuredPass measured, EngineCosts& costs) {
  costs.golden_s += measured.costs.seconds_from(0) - measured.formats_s;
  costs.emulation_s += measured.formats_s;
  slots_ = std::move(measured.slots);
  logits_ = std::move(measured.logits);
  to_ = measured.to;
  drop_what_does_not_fit();
}

// As keep_ahead() would not have kept it.
void GoldenChunk::drop_what_does_not_fit() {
  std::int64_t held = 0;
  int fit = 0;
  while (fit < to_) {
    held += step_costs_.bytes[static_cast<std::size_t>(fit)];
    if (held > budget_) break;
    ++fit;
  }
  if (fit == to_) return;
  const auto& lifetimes = model_.model().program().lifetimes();
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    if (lifetimes[slot].made >= fit) slots_[slot] = c10::IValue();
  }
  to_ = fit;
}

void GoldenChunk::guard_answer(const AnswerGuard& answer) {
  logits_ = logits_.clone();
  doubted_.clear();
  again_.clear();
  for (std::int64_t row = 0; row < logits_.size(0); ++row) {
    const auto width = static_cast<std::size_t>(logits_.size(1));
    const std::span<float> logits(logits_.data_ptr<float>() + row * logits_.size(1), width);
    const AnswerVerdict verdict = answer.guard(logits);
    doubted_.push_back(verdict.noticed);
    again_.push_back(verdict.again);
  }
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
  const PartTimer timer(costs.golden_s, costs);
  // Of what lies before the step only what it reads is of use.
  if (to_ < step) model_.run(slots_, to_, step, images_, costs.emulation_s);
  to_ = std::max(to_, step);
  if (!model_.model().program().writes_in_place()) {  // else a value kept may change later
    release(step);
    keep_ahead(held_bytes(), costs);
  }
}

// Runs on and keeps what fits, where `held` bytes are kept already.
void GoldenChunk::keep_ahead(std::int64_t held, EngineCosts& costs) {
  while (to_ < step_count(model_)) {
    held += step_costs_.bytes[static_cast<std::size_t>(to_)];
    if (held > budget_) break;
    run_step(to_, costs);
    ++to_;
  }
}

void GoldenChunk::run_step(int step, EngineCosts& costs) {
  if (before_) {
    model_.run_beside(slots_, *before_, keep_->model(), step, images_, costs.emulation_s);
  } else {
    model_.run(slots_, step, step + 1, images_, costs.emulation_s, true);
  }
}

}  // namespace bitfall
