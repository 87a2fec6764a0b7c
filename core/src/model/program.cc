#include "program.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <map>
#include <set>

#include "compile_graph.h"
#include "error.h"
#include "sha256.h"
#include "torch_message.h"
#include "torchscript_file.h"
#include "writes.h"

namespace bitfall {

struct Program::State {
  torch::jit::Module module;  // as it was loaded
  ModuleGraph source;
  CompiledGraph compiled;
  std::vector<Step> steps;
  std::vector<Parameter> parameters;
  std::vector<Lifetime> lifetimes;
  std::vector<std::vector<int>> dies;  // dies[i]: slots that nothing after step i reads
  std::vector<Write> writes;

  void compile_source();
};

void Program::State::compile_source() {
  compiled = compile(source);
  steps = describe_steps(compiled);
  parameters = find_parameters(source, compiled);
  lifetimes = find_lifetimes(compiled);
  writes = find_writes(compiled);
  dies.assign(steps.size(), {});
  for (std::size_t slot = 0; slot < lifetimes.size(); ++slot) {
    const int last = lifetimes[slot].last;
    if (last < 0 || last >= static_cast<int>(steps.size())) continue;
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
  state_->module = load_torchscript(path, device);
  if (!state_->module.find_method("forward")) {
    throw Error(ExitCode::kInput, path.string() + ": the module has no forward method");
  }
  state_->module.eval();
  try {
    state_->source = module_graph(state_->module);
  } catch (const std::exception& error) {
    throw Error(ExitCode::kInput,
                path.string() + ": cannot be read as a program of steps: " + torch_message(error));
  }
  const std::size_t inputs = state_->source.graph->inputs().size() - 1;  // without self
  if (inputs == 0) throw Error(ExitCode::kInput, path.string() + ": forward takes no input");
  if (inputs > 1) {
    throw Error(ExitCode::kInput, path.string() + ": forward takes " + std::to_string(inputs) +
                                      " inputs without a default; a classifier of images takes "
                                      "one");
  }
  state_->compile_source();
}

Program::~Program() = default;

void Program::specialise(const at::Tensor& input) {
  const c10::InferenceMode guard;
  constexpr int kMostRounds = 32;  // conditionals within conditionals
  for (int round = 0; round < kMostRounds; ++round) {
    if (!fold_conditions(state_->source, state_->compiled, start(input))) return;
    state_->compile_source();
  }
}

const std::vector<Step>& Program::steps() const { return state_->steps; }
const std::vector<Parameter>& Program::parameters() const { return state_->parameters; }
int Program::input_slot() const { return state_->compiled.input; }
const std::vector<Lifetime>& Program::lifetimes() const { return state_->lifetimes; }

c10::IValue Program::call(int step, std::vector<c10::IValue> operands) const {
  torch::jit::Stack stack = std::move(operands);
  run_operator(state_->compiled.instructions[static_cast<std::size_t>(step)], stack);
  return std::move(stack.back());
}

Slots Program::start(const at::Tensor& input) const {
  Slots slots = state_->compiled.fixed;
  slots[static_cast<std::size_t>(state_->compiled.input)] = input;
  return fork(slots, 0);
}

bool Program::writes_in_place() const { return !state_->writes.empty(); }

bool Program::branches_on_values() const { return bitfall::branches_on_values(state_->compiled); }

void Program::run(Slots& slots, int from, int to, bool keep) const {
  const c10::InferenceMode guard;
  for (int i = from; i < to; ++i) {
    execute(state_->compiled.instructions[static_cast<std::size_t>(i)], slots);
    if (keep) continue;
    for (const int slot : state_->dies[static_cast<std::size_t>(i)]) {
      slots[static_cast<std::size_t>(slot)] = c10::IValue();
    }
  }
}

Slots Program::fork(const Slots& slots, int at) const {
  Slots copy = slots;
  const c10::InferenceMode guard;
  std::map<const void*, at::Tensor> memory;  // one clone for each storage, so that views stay views
  std::set<int> seen;
  for (const Write& write : state_->writes) {
    if (write.step < at || !seen.insert(write.slot).second) continue;
    c10::IValue& value = copy[static_cast<std::size_t>(write.slot)];
    if (value.isTensor() && value.toTensor().defined()) {
      const at::Tensor tensor = value.toTensor();
      at::Tensor& whole = memory[tensor.storage().unsafeGetStorageImpl()];
      if (!whole.defined()) {
        const auto bytes = static_cast<std::int64_t>(tensor.storage().nbytes());
        const auto items = bytes / static_cast<std::int64_t>(tensor.element_size());
        whole = tensor.as_strided({items}, {1}, 0).clone();
      }
      value = whole.as_strided(tensor.sizes(), tensor.strides(), tensor.storage_offset());
    } else if (value.isList()) {
      value = value.deepcopy();
    }
  }
  return copy;
}

at::Tensor Program::output(const Slots& slots) const {
  c10::IValue value = slots[state_->compiled.output];
  if (value.isTuple() && !value.toTupleRef().elements().empty())
    value = value.toTupleRef().elements()[0];
  if (!value.isTensor()) {
    throw Error(ExitCode::kInput, "the model returns a " + value.tagKind() +
                                      "; a classifier returns logits [batch, classes]");
  }
  const c10::InferenceMode guard;
  return value.toTensor().to(at::kCPU, at::kFloat).contiguous();
}

at::Tensor Program::forward(const at::Tensor& input) const {
  const c10::InferenceMode guard;
  torch::jit::Module module = state_->module;
  c10::IValue value = module.forward({input});
  if (value.isTuple() && !value.toTupleRef().elements().empty())
    value = value.toTupleRef().elements()[0];
  return value.toTensor().to(at::kCPU, at::kFloat).contiguous();
}

std::string Program::checksum() const {
  const c10::InferenceMode guard;
  std::string bits;
  for (const auto& value : state_->compiled.fixed) {
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
  if (a.scalar_type() != at::kFloat) return a.equal(b);
  return a.contiguous().view(at::kInt).equal(b.contiguous().view(at::kInt));
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
