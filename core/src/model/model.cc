#include "model.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/InferenceMode.h>

#include <map>
#include <new>

#include "error.h"
#include "program.h"
#include "torch_message.h"

namespace bitfall {

struct Model::State {
  std::unique_ptr<Program> program;
  std::vector<Site> sites;
  std::vector<std::vector<int>> slots;
  std::vector<int> first_steps;
  std::vector<at::Tensor> parameters;
  std::array<std::int64_t, 3> input;
  std::int64_t batch = 0;
  std::int64_t classes = 0;
  std::string unfit;
  std::string device;
  std::vector<std::int64_t> slabs;  // by slot
  std::vector<bool> independent;    // by slot: of the images
  bool rows_alike = true;

  void judge_slot(int slot, const Slots& a, const Slots& b, const Slots& turned,
                  std::int64_t changed);
  void add(Site site, std::vector<int> where, int first_step, at::Tensor parameter = {});
  void add_activations();
  void add_parameters();
  void prove_batch_major(const at::Tensor& images, at::Generator& random);
};

namespace {

std::string shape_text(at::IntArrayRef shape) {
  std::string text;
  for (const auto extent : shape) text += (text.empty() ? "" : "x") + std::to_string(extent);
  return text.empty() ? "scalar" : text;
}

// Names of the computing steps: the module's path where it runs one operation of that kind, else
// path/kind#n.
struct StepNames {
  std::string name;
  std::vector<std::string> aliases;
};

bool is_default_kind(const std::string& kind) { return kind == "conv" || kind == "linear"; }

std::vector<StepNames> name_steps(const std::vector<Step>& steps) {
  std::map<std::pair<std::string, std::string>, int> of_kind;  // (path, kind) -> how many
  std::map<std::string, int> defaults;
  for (const Step& step : steps) {
    if (step.operation.empty()) continue;
    ++of_kind[{step.path, step.operation}];
    if (is_default_kind(step.operation)) ++defaults[step.path];
  }
  std::map<std::string, int> singles;  // path -> how many kinds occur just once in it
  for (const auto& [key, count] : of_kind) {
    if (count == 1) ++singles[key.first];
  }
  std::map<std::pair<std::string, std::string>, int> seen;
  std::vector<StepNames> names(steps.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const std::string& path = steps[i].path;
    const std::string& kind = steps[i].operation;
    if (kind.empty()) continue;
    const int number = ++seen[{path, kind}];
    const bool one = of_kind[{path, kind}] == 1;
    const std::string stem = path.empty() ? kind : path + "/" + kind;
    const std::string numbered = stem + "#" + std::to_string(number);
    // A convolution or linear layer owns its module's path; any other kind does where nothing else
    // competes.
    const bool owns =
        one && !path.empty() &&
        (is_default_kind(kind) ? defaults[path] == 1 : defaults[path] == 0 && singles[path] == 1);
    names[i].name = owns ? path : one ? stem : numbered;
    for (const std::string& other : {stem, numbered}) {
      if (other != names[i].name && (one || other == numbered)) names[i].aliases.push_back(other);
    }
  }
  return names;
}

at::Tensor bits_of(const at::Tensor& tensor) { return tensor.contiguous().view(at::kInt); }

// What is wrong with a model whose logits for one batch are `first`, for the same batch again
// `again`, and for a batch with another image in row `changed` `other`. Empty if nothing.
std::string misfit(const at::Tensor& first, const at::Tensor& again, const at::Tensor& other,
                   std::int64_t changed) {
  if (bits_of(first).ne(bits_of(again)).any().item<bool>()) {
    return "two runs on the same images give different answers (dropout or noise is active, or the "
           "model keeps a state)";
  }
  at::Tensor differs = bits_of(first).ne(bits_of(other)).any(1);
  differs[changed] = false;
  if (!differs.any().item<bool>()) return "";
  return "the answer for one image depends on the other images of its batch (batch normalisation "
         "in "
         "training mode, or a mean over the batch)";
}

}  // namespace

void Model::State::add(Site site, std::vector<int> where, int first_step, at::Tensor parameter) {
  sites.push_back(std::move(site));
  slots.push_back(std::move(where));
  first_steps.push_back(first_step);
  parameters.push_back(std::move(parameter));
}

void Model::State::add_activations() {
  Site image;
  image.name = "input";
  image.target = Target::kInput;
  image.operation = "input";
  image.shape.assign(input.begin(), input.end());
  image.values = input[0] * input[1] * input[2];
  add(std::move(image), {program->input_slot()}, 0);

  const auto& steps = program->steps();
  const auto names = name_steps(steps);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].operation.empty() || steps[i].output < 0) continue;
    Site site;
    site.name = names[i].name;
    site.aliases = names[i].aliases;
    site.operation = steps[i].operation;
    if (steps[i].in_place) site.refusal = "the operation writes into its own input";
    add(std::move(site), {steps[i].output}, static_cast<int>(i) + 1);
  }
}

void Model::State::add_parameters() {
  for (const Parameter& parameter : program->parameters()) {
    Site site;
    site.name = parameter.name;
    site.target = Target::kWeight;
    site.operation = parameter.operation;
    site.shape = parameter.value.sizes().vec();
    site.values = parameter.value.numel();
    if (parameter.first_step < 0) site.refusal = "nothing in the network reads it";
    if (parameter.value.scalar_type() != at::kFloat) {
      site.refusal =
          std::string("holds ") + c10::toString(parameter.value.scalar_type()) + ", not float32";
    }
    add(std::move(site), parameter.slots, std::max(parameter.first_step, 0), parameter.value);
  }
}

// Of values `a` of a batch, `b` of one with another image in row `changed`, and `turned` of `a`'s
// batch turned by one row.
void Model::State::judge_slot(int slot, const Slots& a, const Slots& b, const Slots& turned,
                              std::int64_t changed) {
  const auto index = static_cast<std::size_t>(slot);
  independent[index] = same_value(a[index], b[index]) && same_value(a[index], turned[index]);
  if (!a[index].isTensor() || !b[index].isTensor() || !turned[index].isTensor()) return;
  const at::Tensor &left = a[index].toTensor(), &right = b[index].toTensor();
  const at::Tensor& other = turned[index].toTensor();
  if (!left.defined() || left.scalar_type() != at::kFloat || left.layout() != at::kStrided ||
      left.dim() == 0 || left.size(0) % batch != 0 || left.numel() == 0 ||
      left.sizes() != right.sizes() || left.sizes() != other.sizes()) {
    return;
  }
  at::Tensor differs = bits_of(left).ne(bits_of(right)).reshape({batch, -1}).any(1).cpu();
  if (!differs[changed].item<bool>()) return;
  differs[changed] = false;
  if (differs.any().item<bool>()) return;
  slabs[index] = left.size(0) / batch;
  rows_alike = rows_alike && bits_of(other.roll(-slabs[index], 0)).equal(bits_of(left));
}

// Runs two batches that differ in one image in step, and compares every site's output bit for bit.
void Model::State::prove_batch_major(const at::Tensor& images, at::Generator& random) {
  const std::int64_t changed = batch > 1 ? 1 : 0;
  at::Tensor other = images.clone();
  other.select(0, changed).copy_(at::randn(images.sizes().slice(1), random, at::kFloat));
  Slots a = program->start(images);
  Slots b = program->start(other);
  Slots turned = program->start(images.roll(1, 0));
  slabs.assign(a.size(), 0);
  independent.assign(a.size(), true);
  slabs[static_cast<std::size_t>(program->input_slot())] = 1;
  independent[static_cast<std::size_t>(program->input_slot())] = false;
  std::map<int, std::size_t> site_of_step;
  for (std::size_t s = 0; s < sites.size(); ++s) {
    if (sites[s].target == Target::kActivation) site_of_step[first_steps[s] - 1] = s;
  }
  const auto judge = [&](Site& site, const at::Tensor& left, const at::Tensor& right) {
    if (!site.refusal.empty()) return;
    if (left.scalar_type() != at::kFloat || left.layout() != at::kStrided || left.is_quantized()) {
      site.refusal = std::string("holds ") + c10::toString(left.scalar_type()) + ", not float32";
      return;
    }
    const bool fits = left.dim() > 0 && left.size(0) % batch == 0 &&
                      left.sizes() == right.sizes() && left.numel() > 0;
    if (!fits) {
      site.refusal = "its output [" + shape_text(left.sizes()) +
                     "] is not one slab an image of a batch of " + std::to_string(batch);
      return;
    }
    site.shape = left.sizes().slice(1).vec();
    if (left.size(0) != batch) site.shape.insert(site.shape.begin(), left.size(0) / batch);
    site.values = left.numel() / batch;
    const at::Tensor differs = bits_of(left).ne(bits_of(right)).reshape({batch, -1}).any(1).cpu();
    for (std::int64_t row = 0; row < batch; ++row) {
      if (row != changed && differs[row].item<bool>()) {
        site.refusal = "changing one image changes other images' values (not batch-major)";
        return;
      }
    }
    if (!differs[changed].item<bool>()) site.refusal = "its values do not depend on the image";
  };
  const int steps = static_cast<int>(program->steps().size());
  for (int i = 0; i < steps; ++i) {
    // Looked at before the run empties a slot that nothing reads.
    const int slot = program->steps()[i].output;
    program->run(a, i, i + 1);
    program->run(b, i, i + 1);
    program->run(turned, i, i + 1);
    for (const int made : program->steps()[i].outputs) judge_slot(made, a, b, turned, changed);
    const auto site = site_of_step.find(i);
    if (site == site_of_step.end()) continue;
    if (!a[slot].isTensor() || !a[slot].toTensor().defined()) {
      sites[site->second].refusal = "nothing in the network reads it";
      continue;
    }
    judge(sites[site->second], a[slot].toTensor(), b[slot].toTensor());
  }
  const at::Tensor logits = program->output(a);
  if (logits.dim() != 2 || logits.size(0) != batch) {
    throw Error(ExitCode::kInput, "the model's answer has shape [" + shape_text(logits.sizes()) +
                                      "]; a classifier gives [" + std::to_string(batch) +
                                      " x classes]");
  }
  classes = logits.size(1);
  Slots repeat = program->start(images);
  program->run(repeat, 0, steps);
  unfit = misfit(logits, program->output(repeat), program->output(b), changed);
  if (unfit.empty() && batch > 1 && program->branches_on_values()) {
    unfit =
        "it branches or loops on values, so one image of a batch decides for the others; set [run] "
        "batch = 1";
  }
}

bool out_of_memory(const std::exception& error) {
  const std::string_view text = error.what();
  return dynamic_cast<const std::bad_alloc*>(&error) ||
         dynamic_cast<const c10::OutOfMemoryError*>(&error) ||
         text.find("can't allocate memory") != text.npos;  // a c10::Error of the CPU's allocator
}

Error input_misfit(const std::filesystem::path& model, const std::string& shape,
                   const std::exception& error) {
  if (out_of_memory(error)) {
    return {ExitCode::kFailure, model.string() + ": no memory for an input of [" + shape +
                                    "]\n  take smaller batches ([run] batch), or fewer workers"};
  }
  return {ExitCode::kInput,
          model.string() + ": the model fails on an input of [" + shape +
              "]: " + torch_message(error) +
              "\n  give the shape that it expects (data preprocess, or --input CxHxW)"};
}

Model::Model(const std::filesystem::path& path, std::array<std::int64_t, 3> input,
             std::int64_t batch, const std::string& device)
    : state_(std::make_unique<State>()) {
  const c10::InferenceMode guard;
  State& state = *state_;
  state.input = input;
  state.batch = batch;
  state.device = device;
  state.program = std::make_unique<Program>(path, device);
  // Of its own: what else draws from LibTorch's stream in this process draws the same.
  auto random = at::make_generator<at::CPUGeneratorImpl>(0);
  const at::Tensor images =
      at::randn({batch, input[0], input[1], input[2]}, random, at::kFloat).to(c10::Device(device));
  try {
    state.program->specialise(images);
    state.add_activations();
    state.add_parameters();
    state.prove_batch_major(images, random);
  } catch (const Error& error) {
    throw Error(error.code(), path.string() + ": " + error.what());
  } catch (const std::exception& error) {
    throw input_misfit(path, shape_text(images.sizes()), error);
  }
}

Model::~Model() = default;

const std::vector<Site>& Model::sites() const { return state_->sites; }
const std::string& Model::unfit() const { return state_->unfit; }
std::int64_t Model::classes() const { return state_->classes; }
std::int64_t Model::batch() const { return state_->batch; }
std::array<std::int64_t, 3> Model::input() const { return state_->input; }
const std::string& Model::device() const { return state_->device; }
const Program& Model::program() const { return *state_->program; }
bool Model::is_weight(std::int32_t site) const {
  return state_->sites.at(static_cast<std::size_t>(site)).target == Target::kWeight;
}
const std::vector<int>& Model::slots(std::int32_t site) const { return state_->slots.at(site); }
int Model::first_step(std::int32_t site) const { return state_->first_steps.at(site); }
std::int64_t Model::slabs(int slot) const {
  return state_->slabs.at(static_cast<std::size_t>(slot));
}
bool Model::image_independent(int slot) const {
  return state_->independent.at(static_cast<std::size_t>(slot));
}
bool Model::rows_alike() const { return state_->rows_alike; }
at::Tensor Model::parameter(std::int32_t site) const { return state_->parameters.at(site); }

}  // namespace bitfall
