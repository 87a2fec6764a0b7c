#include "model.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/InferenceMode.h>

#include <map>
#include <new>
#include <set>
#include <stdexcept>

#include "answer_form.h"
#include "batch_layout.h"
#include "error.h"
#include "instruction.h"
#include "program.h"
#include "tensor_shape.h"
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

// No two sites of one name: "linear" of the model's own forward is "/linear" beside a module
// `linear`. What a module's path names keeps its name.
void make_unique(std::vector<StepNames>& names, const std::vector<Step>& steps) {
  std::set<std::string> taken = {"", "input"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i].name == steps[i].path) taken.insert(names[i].name);
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::string& name = names[i].name;
    if (name.empty() || name == steps[i].path) continue;
    while (!taken.insert(name).second) name.insert(0, "/");
  }
  for (StepNames& step : names) {
    std::erase_if(step.aliases, [&](const std::string& alias) { return taken.count(alias) > 0; });
  }
}

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
  make_unique(names, steps);
  return names;
}

}  // namespace

struct Model::State {
  // Where a site's values are in the program.
  struct Source {
    std::vector<int> slots;
    int first_step = 0;    // the first that reads a changed value
    at::Tensor parameter;  // undefined for other sites
    std::vector<SharedView> overlaps = {};
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
  AnswerTaken answer;

  void choose_answer(const at::Tensor& images, const AnswerChoice& wish);
  void add_input();
  void add_activations();
  void add_parameters();
};

void Model::State::choose_answer(const at::Tensor& images, const AnswerChoice& wish) {
  Slots slots = program->start(images);
  program->run(slots, 0, static_cast<int>(program->steps().size()));
  const c10::IValue result = slots[static_cast<std::size_t>(program->instructions().output)];
  answer.name = bitfall::choose_answer(result, batch, wish);
  for (const NamedAnswer& one : tensors_of(result)) {
    answer.results.push_back(one.name + " [" + shape_text(one.value.sizes()) + "]");
  }
  AnswerChoice chosen = wish;
  chosen.output = answer.name;
  program->choose_answer(chosen);
}

void Model::State::add_input() {
  Site image;
  image.name = "input";
  image.target = Target::kInput;
  image.operation = "input";
  image.shape.assign(input.begin(), input.end());
  image.values = input[0] * input[1] * input[2];
  image.type = layout.slots[static_cast<std::size_t>(program->input_slot())].type;
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
      site.type = made.type;
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
    if (const auto type = value_type_of(parameter.value)) {
      site.type = *type;
    } else {
      site.refusal = type_refusal(c10::toString(parameter.value.scalar_type()));
    }
    sites.push_back(std::move(site));
    sources.push_back(
        {parameter.slots, std::max(parameter.first_step, 0), parameter.value, parameter.overlaps});
  }
}

// What to do about a network that fails, by what it says. The shape is the reason where sizes are
// spoken of; everything else has its own.
std::string advice_for(const std::string& message) {
  const auto says = [&](const char* words) { return message.find(words) != message.npos; };
  if (says("does not have a deterministic implementation")) {
    return "\n  a campaign must give the same bits each time: run it with device = \"cpu\", or "
           "export the network with another operator there";
  }
  if (says("cuda:") && says("cpu")) {
    return "\n  it holds tensors on another device than its weights: export it on the CPU";
  }
  if (says("Half") || says("BFloat16") || says("Double") || says("same dtype")) {
    return "\n  its types do not fit float32 images: save model.float(), or, where it casts by "
           "itself (torch.autocast), export it as an archive of torch.export (.pt2)";
  }
  if (says("is invalid for input of size")) {
    return "\n  give the shape that it expects (data preprocess, or --input CxHxW); or its trace "
           "holds "
           "another batch ([run] batch, or --batch)";
  }
  if (says("size") || says("shape") || says("channels") || says("dimension") || says("kernel")) {
    return "\n  give the shape that it expects (data preprocess, or --input CxHxW)";
  }
  return "";
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
  return {ExitCode::kInput, model.string() + ": the model fails on an input of [" + shape +
                                "]: " + torch_message(error) + advice_for(error.what())};
}

namespace {

// What the network is proven on: the campaign's images, or else noise.
ProofImages proof_images(const ModelOptions& options) {
  const c10::Device device(options.device);
  const auto [channels, height, width] = options.input;
  const std::int64_t batch = options.batch;
  const auto given = static_cast<std::int64_t>(options.images.size()) / (channels * height * width);
  if (given >= batch) {
    const at::Tensor images = at::from_blob(const_cast<float*>(options.images.data()),
                                            {given, channels, height, width}, at::kFloat)
                                  .clone()
                                  .to(device);
    at::Tensor others = images.slice(0, batch);
    const at::Tensor changed = images.select(0, batch > 1 ? 1 : 0);
    // Without enough images: those that there are, turned, which are images of the kind as well.
    if (others.size(0) == 0) others = images.slice(0, 0, batch).flip({0, 3});
    // The first must be another: images may occur twice, or all be alike.
    for (std::int64_t i = 0; i < others.size(0) && same_bits(others[0], changed); ++i) {
      others = others.roll(1, 0);
    }
    if (same_bits(others[0], changed)) others = others + 1;
    return {images.slice(0, 0, batch), others};
  }
  // Of its own: what else draws from LibTorch's stream in this process draws the same.
  auto random = at::make_generator<at::CPUGeneratorImpl>(0);
  const at::Tensor images = at::randn({batch, channels, height, width}, random, at::kFloat);
  const at::Tensor others = at::randn({batch, channels, height, width}, random, at::kFloat);
  return {images.to(device), others.to(device)};
}

}  // namespace

Model::Model(const std::filesystem::path& path, const ModelOptions& options)
    : state_(std::make_unique<State>()) {
  const c10::InferenceMode guard;
  State& state = *state_;
  state.input = options.input;
  state.batch = options.batch;
  state.device = options.device;
  state.program = std::make_unique<Program>(path, options.device);
  const ProofImages images = proof_images(options);
  try {
    state.program->specialise(images.batch);
    state.choose_answer(images.batch, options.answer);
    state.layout = find_batch_layout(*state.program, images);
    state.add_input();
    state.add_activations();
    state.add_parameters();
  } catch (const Error& error) {
    throw Error(error.code(), path.string() + ": " + error.what());
  } catch (const std::exception& error) {
    throw input_misfit(path, shape_text(images.batch.sizes()), error);
  }
}

std::optional<std::int64_t> find_fixed_batch(const std::filesystem::path& path,
                                             const ModelOptions& options) {
  const c10::InferenceMode guard;
  try {
    Program program(path, options.device);
    const at::Tensor image = proof_images(options).batch[0].unsqueeze(0);
    program.choose_input_type(image.repeat({options.batch, 1, 1, 1}));
    const auto runs = [&](std::int64_t batch) {
      try {
        Slots slots = program.start(image.repeat({batch, 1, 1, 1}));
        program.run(slots, 0, static_cast<int>(program.steps().size()));
        return true;
      } catch (const std::exception&) {
        return false;
      }
    };
    if (runs(options.batch)) return std::nullopt;
    constexpr std::int64_t kMost = 32;
    for (std::int64_t batch = 1; batch <= kMost; ++batch) {
      if (runs(batch)) return batch;
    }
  } catch (const std::exception&) {  // has been told
  }
  return std::nullopt;
}

Model::Model(Model&&) noexcept = default;
Model::~Model() = default;

const std::vector<Site>& Model::sites() const { return state_->sites; }
const std::string& Model::unfit() const { return state_->layout.unfit; }
std::int64_t Model::classes() const { return state_->layout.classes; }
std::int64_t Model::batch() const { return state_->batch; }
std::array<std::int64_t, 3> Model::input() const { return state_->input; }
const std::string& Model::device() const { return state_->device; }
std::string Model::writer() const {
  const auto& writes = state_->program->instructions().writes;
  if (writes.empty()) return "";
  return state_->program->steps()[static_cast<std::size_t>(writes.front().step)].place();
}
const Program& Model::program() const { return *state_->program; }
bool Model::is_weight(std::int32_t site) const {
  return state_->sites.at(static_cast<std::size_t>(site)).target == Target::kWeight;
}
const std::vector<int>& Model::slots(std::int32_t site) const { return state_->source(site).slots; }
int Model::first_step(std::int32_t site) const { return state_->source(site).first_step; }
const ImageAxis& Model::images(int slot) const {
  return state_->layout.slots.at(static_cast<std::size_t>(slot)).images;
}
bool Model::image_independent(int slot) const {
  return state_->layout.slots.at(static_cast<std::size_t>(slot)).image_independent;
}
bool Model::answers_probabilities() const { return state_->layout.probabilities; }
const AnswerTaken& Model::answer() const { return state_->answer; }
const std::vector<SharedView>& Model::overlaps(std::int32_t site) const {
  return state_->source(site).overlaps;
}
bool Model::rows_alike() const { return state_->layout.rows_alike; }
std::vector<NamedShape> Model::named_parameters() const {
  return state_->program->named_parameters();
}
at::Tensor Model::parameter(std::int32_t site) const { return state_->source(site).parameter; }

}  // namespace bitfall
