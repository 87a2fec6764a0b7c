#include "program.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <map>
#include <set>

#include "error.h"
#include "front_end.h"
#include "sha256.h"

namespace bitfall {

struct Program::State {
  std::unique_ptr<FrontEnd> network;
  std::vector<Step> steps;
  std::vector<Parameter> parameters;
  std::vector<Lifetime> lifetimes;
  std::vector<bool> dependent;
  std::vector<std::vector<int>> dies;  // dies[i]: slots that nothing after step i reads
  AnswerChoice answer;
  at::ScalarType input_type = at::kFloat;

  const Instructions& instructions() const { return network->instructions(); }
  const Instruction& instruction(int step) const {
    return instructions().steps[static_cast<std::size_t>(step)];
  }
  void describe();
};

void Program::State::describe() {
  const Instructions& program = instructions();
  steps = describe_steps(program);
  parameters = find_parameters(program);
  lifetimes = find_lifetimes(program);
  dependent = find_dependent(program);
  dies.assign(steps.size(), {});
  for (std::size_t slot = 0; slot < lifetimes.size(); ++slot) {
    const int last = lifetimes[slot].last;
    if (last < 0 || last >= static_cast<int>(steps.size())) continue;
    if (static_cast<int>(slot) == program.input) continue;  // tells the batch
    dies[static_cast<std::size_t>(last)].push_back(static_cast<int>(slot));
  }
}

Program::Program(const std::filesystem::path& path, const std::string& device)
    : state_(std::make_unique<State>()) {
  if (!at::hasCUDA() && device.rfind("cuda", 0) == 0) {
    throw Error(ExitCode::kUsage, "device \"" + device +
                                      "\": this machine or this LibTorch has no CUDA; use \"cpu\"");
  }
  const c10::InferenceMode guard;
  state_->network = open_network(path, device);
  state_->describe();
}

Program::~Program() = default;

void Program::choose_input_type(const at::Tensor& input) {
  const c10::InferenceMode guard;
  std::optional<at::ScalarType> type;  // of all parameters
  for (const Parameter& parameter : state_->parameters) {
    if (!parameter.learned || !parameter.value.is_floating_point()) continue;
    if (type.value_or(parameter.value.scalar_type()) != parameter.value.scalar_type()) return;
    type = parameter.value.scalar_type();
  }
  if (!type || *type == at::kFloat || state_->input_type == *type) return;
  try {
    Slots slots = start(input);
    run(slots, 0, static_cast<int>(state_->steps.size()));
  } catch (const std::exception&) {
    state_->input_type = *type;
  }
}

void Program::specialise(const at::Tensor& input) {
  const c10::InferenceMode guard;
  choose_input_type(input);
  constexpr int kMostRounds = 64;  // conditionals within conditionals
  bool changed = false;
  for (int round = 0; round < kMostRounds; ++round) {
    if (!state_->network->specialise(start(input))) break;
    changed = true;
  }
  if (changed) state_->describe();
}

const std::vector<Step>& Program::steps() const { return state_->steps; }
const std::vector<Parameter>& Program::parameters() const { return state_->parameters; }
int Program::input_slot() const { return state_->instructions().input; }
const std::vector<Lifetime>& Program::lifetimes() const { return state_->lifetimes; }

const Instructions& Program::instructions() const { return state_->instructions(); }
bool Program::depends_on_image(int slot) const {
  return state_->dependent[static_cast<std::size_t>(slot)];
}
std::vector<NamedShape> Program::named_parameters() const {
  return state_->network->named_parameters();
}
std::int64_t Program::learned_numbers() const { return state_->network->learned_numbers(); }
bool Program::keeps_state() const { return state_->network->keeps_state(); }

c10::IValue Program::call(int step, std::vector<c10::IValue> operands) const {
  torch::jit::Stack stack = std::move(operands);
  state_->instruction(step).run(stack);
  return std::move(stack.back());
}

Slots Program::start(const at::Tensor& input) const {
  Slots slots = state_->instructions().fixed;
  slots[static_cast<std::size_t>(state_->instructions().input)] = input.to(state_->input_type);
  return fork(slots, 0);
}

bool Program::writes_in_place() const { return !state_->instructions().writes.empty(); }

void Program::run(Slots& slots, int from, int to, bool keep, int* at) const {
  const c10::InferenceMode guard;
  for (int i = from; i < to; ++i) {
    if (at != nullptr) *at = i;
    execute(state_->instruction(i), slots);
    if (keep) continue;
    for (const int slot : state_->dies[static_cast<std::size_t>(i)]) {
      slots[static_cast<std::size_t>(slot)] = c10::IValue();
    }
  }
}

void Program::observe(Slots& slots, int step, const CallObserver& observer) const {
  const c10::InferenceMode guard;
  execute(state_->instruction(step), slots, &observer);
  for (const int slot : state_->dies[static_cast<std::size_t>(step)]) {
    slots[static_cast<std::size_t>(slot)] = c10::IValue();
  }
}

Slots Program::fork(const Slots& slots, int at) const {
  return bitfall::fork(state_->instructions(), slots, at);
}

bool Program::share_alike(const Slots& one, const Slots& other, int at) const {
  return bitfall::share_alike(state_->instructions(), one, other, at);
}

void Program::choose_answer(AnswerChoice choice) { state_->answer = std::move(choice); }

at::Tensor Program::output(const Slots& slots) const {
  const c10::InferenceMode guard;
  const std::int64_t batch = slots[static_cast<std::size_t>(input_slot())].toTensor().size(0);
  return answer_of(slots[static_cast<std::size_t>(state_->instructions().output)], batch,
                   state_->answer);
}

at::Tensor Program::forward(const at::Tensor& input) const {
  const c10::InferenceMode guard;
  return answer_of(state_->network->forward(input.to(state_->input_type)), input.size(0),
                   state_->answer);
}

bool Program::forward_runs_otherwise() const { return state_->network->runs_otherwise(); }

std::string Program::checksum() const {
  const c10::InferenceMode guard;
  std::string bits;
  for (const auto& value : state_->instructions().fixed) {
    if (!value.isTensor() || !value.toTensor().defined()) continue;
    const at::Tensor tensor = value.toTensor().cpu().contiguous();
    bits += sha256_text(
        {static_cast<const char*>(tensor.data_ptr()), static_cast<std::size_t>(tensor.nbytes())});
  }
  return sha256_text(bits);
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.is_same(b)) return true;
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  return value_type_of(a) ? bits_of(a).equal(bits_of(b)) : a.equal(b);
}

std::optional<ValueType> value_type_of(const at::Tensor& value) {
  if (value.layout() != at::kStrided || value.is_quantized()) return std::nullopt;
  switch (value.scalar_type()) {
    case at::kFloat:
      return ValueType::kFloat32;
    case at::kHalf:
      return ValueType::kFloat16;
    case at::kBFloat16:
      return ValueType::kBfloat16;
    case at::kDouble:
      return ValueType::kFloat64;
    default:
      return std::nullopt;
  }
}

at::Tensor bits_of(const at::Tensor& value) {
  const auto size = value.element_size();
  return value.contiguous().view(size == 2 ? at::kShort : size == 4 ? at::kInt : at::kLong);
}

bool same_value(const c10::IValue& a, const c10::IValue& b) {
  if (a.is(b)) return true;
  if (a.isTensor() && b.isTensor()) {
    if (!a.toTensor().defined() || !b.toTensor().defined()) return false;
    return same_bits(a.toTensor(), b.toTensor());
  }
  if (a.isInt() && b.isInt()) return a.toInt() == b.toInt();
  if (a.isDouble() && b.isDouble()) return a.toDouble() == b.toDouble();
  if (a.isBool() && b.isBool()) return a.toBool() == b.toBool();
  if (a.isIntList() && b.isIntList()) return a.toIntVector() == b.toIntVector();
  if (a.isString() && b.isString()) return a.toStringRef() == b.toStringRef();
  if (a.isDevice() && b.isDevice()) return a.toDevice() == b.toDevice();
  if (a.isTensorList() && b.isTensorList()) {
    const auto left = a.toTensorVector(), right = b.toTensorVector();
    return std::equal(left.begin(), left.end(), right.begin(), right.end(), same_bits);
  }
  return false;
}

}  // namespace bitfall
