#include "model.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/InferenceMode.h>

#include <map>
#include <new>
#include <stdexcept>

#include "batch_layout.h"
#include "error.h"
#include "program.h"
#include "torch_message.h"

namespace bitfall {
namespace {

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

}  // namespace

struct Model::State {
  // Where a site's values are in the program.
  struct Source {
    std::vector<int> slots;
    int first_step = 0;    // the first that reads a changed value
    at::Tensor parameter;  // undefined for other sites
  };

  std::array<std::int64_t, 3> input;
  std::int64_t batch = 0;
  std::string device;
  std::unique_ptr<Program> program;
  BatchLayout layout;
  std::vector<Site> sites;
  std::vector<Source> sources;  // by site

  const Source& source(std::int32_t site) const {
    return sources.at(static_cast<std::size_t>(site));
  }
  void add_input();
  void add_activations();
  void add_parameters();
};

void Model::State::add_input() {
  Site image;
  image.name = "input";
  image.target = Target::kInput;
  image.operation = "input";
  image.shape.assign(input.begin(), input.end());
  image.values = input[0] * input[1] * input[2];
  sites.push_back(std::move(image));
  sources.push_back({{program->input_slot()}, 0, {}});
}

void Model::State::add_activations() {
  const auto& steps = program->steps();
  const auto names = name_steps(steps);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].operation.empty() || steps[i].output < 0) continue;
    Site site;
    site.name = names[i].name;
    site.aliases = names[i].aliases;
    site.operation = steps[i].operation;
    if (steps[i].in_place) {
      site.refusal = "the operation writes into its own input";
    } else {
      const SlotLayout& made = layout.slots[static_cast<std::size_t>(steps[i].output)];
      site.shape = made.shape;
      site.values = made.values;
      site.refusal = made.refusal;
    }
    sites.push_back(std::move(site));
    sources.push_back({{steps[i].output}, static_cast<int>(i) + 1, {}});
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
    sites.push_back(std::move(site));
    sources.push_back({parameter.slots, std::max(parameter.first_step, 0), parameter.value});
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
    state.layout = find_batch_layout(*state.program, images, random);
    state.add_input();
    state.add_activations();
    state.add_parameters();
  } catch (const Error& error) {
    throw Error(error.code(), path.string() + ": " + error.what());
  } catch (const std::exception& error) {
    throw input_misfit(path, shape_text(images.sizes()), error);
  }
}

Model::~Model() = default;

at::Tensor first_images(const at::Tensor& value, const Rows& rows) {
  return value.narrow(0, 0, rows.count());
}

at::Tensor image_of(const at::Tensor& value, std::int64_t row, const Rows& one) {
  return value.narrow(0, row * one.slabs, one.count());
}

const std::vector<Site>& Model::sites() const { return state_->sites; }
const std::string& Model::unfit() const { return state_->layout.unfit; }
std::int64_t Model::classes() const { return state_->layout.classes; }
std::int64_t Model::batch() const { return state_->batch; }
std::array<std::int64_t, 3> Model::input() const { return state_->input; }
const std::string& Model::device() const { return state_->device; }
const Program& Model::program() const { return *state_->program; }
bool Model::is_weight(std::int32_t site) const {
  return state_->sites.at(static_cast<std::size_t>(site)).target == Target::kWeight;
}
const std::vector<int>& Model::slots(std::int32_t site) const { return state_->source(site).slots; }
int Model::first_step(std::int32_t site) const { return state_->source(site).first_step; }
std::int64_t Model::slabs(int slot) const {
  return state_->layout.slots.at(static_cast<std::size_t>(slot)).slabs;
}
Rows Model::rows(int slot, std::int64_t images) const {
  const Rows rows{images, slabs(slot)};
  if (rows.slabs > 0) return rows;
  throw std::logic_error("slot " + std::to_string(slot) + " does not hold image after image");
}
bool Model::image_independent(int slot) const {
  return state_->layout.slots.at(static_cast<std::size_t>(slot)).image_independent;
}
bool Model::rows_alike() const { return state_->layout.rows_alike; }
at::Tensor Model::parameter(std::int32_t site) const { return state_->source(site).parameter; }

}  // namespace bitfall
