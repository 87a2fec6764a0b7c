#include "trainer.h"

#include <ATen/ATen.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>
#include <torch/serialize.h>
#include <torch/utils.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "atomic_file.h"
#include "batch_loader.h"
#include "error.h"
#include "evaluation.h"
#include "gpu_facts.h"
#include "json_file.h"
#include "log.h"
#include "model_card.h"
#include "philox.h"
#include "pixel_changes.h"
#include "preprocess.h"
#include "progress.h"
#include "recipe.h"
#include "run_lock.h"
#include "schedule.h"
#include "sha256.h"
#include "sites.h"
#include "timer.h"
#include "torch_runtime.h"
#include "trainable_model.h"
#include "zip_archive.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kFactNames[][2] = {
    {"training", "the training file"},           {"data", "the images"},
    {"validation", "the validation images"},     {"model", "the model file"},
    {"interpolation", "how images are resized"}, {"torch", "LibTorch's version"}};

constexpr const char* kCalmer = "; lower [optimizer] learning_rate or lengthen the warm-up";

/// Throws where a pattern of no_decay names nothing.
void check_patterns(const OptimizerConfig& config, const std::vector<NamedTensor>& parameters,
                    const fs::path& model) {
  for (const std::string& pattern : config.no_decay) {
    if (std::any_of(parameters.begin(), parameters.end(), [&](const NamedTensor& parameter) {
          return glob_match(pattern, parameter.name);
        })) {
      continue;
    }
    throw Error(ExitCode::kUsage, model.string() + ": [optimizer] no_decay '" + pattern +
                                      "' is the name of no parameter; the first is '" +
                                      parameters.front().name + "'");
  }
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(
    const OptimizerConfig& config, const std::vector<NamedTensor>& parameters) {
  std::vector<at::Tensor> decayed, plain;
  for (const NamedTensor& parameter : parameters) {
    const bool named = std::any_of(
        config.no_decay.begin(), config.no_decay.end(),
        [&](const std::string& pattern) { return glob_match(pattern, parameter.name); });
    const bool decays = !named && (config.decay_vectors || parameter.value.dim() > 1);
    (decays ? decayed : plain).push_back(parameter.value);
  }
  const auto groups = [&](const auto& options) {
    auto undecayed = options;
    undecayed.weight_decay(0);
    using Options = std::decay_t<decltype(options)>;
    std::vector<torch::optim::OptimizerParamGroup> list;
    if (!decayed.empty()) list.emplace_back(decayed, std::make_unique<Options>(options));
    if (!plain.empty()) list.emplace_back(plain, std::make_unique<Options>(undecayed));
    return list;
  };
  if (config.kind == OptimizerKind::kSgd) {
    auto options = torch::optim::SGDOptions(config.learning_rate)
                       .momentum(config.momentum)
                       .nesterov(config.nesterov)
                       .weight_decay(config.weight_decay);
    return std::make_unique<torch::optim::SGD>(groups(options), options);
  }
  auto options = torch::optim::AdamWOptions(config.learning_rate)
                     .betas({config.beta1, config.beta2})
                     .eps(config.epsilon)
                     .weight_decay(config.weight_decay);
  return std::make_unique<torch::optim::AdamW>(groups(options), options);
}

std::string loss_text(const EpochSums& sums) {
  char text[48];
  std::snprintf(text, sizeof text, "loss %.3f, %.1f %% correct", sums.mean_loss(),
                100 * sums.accuracy());
  return text;
}

}  // namespace

struct Trainer::State {
  Training training;
  fs::path directory;
  std::unique_ptr<RunLock> lock;
  std::unique_ptr<Dataset> data, validation;
  std::unique_ptr<TrainableModel> model;
  Json card;  // of the model that is trained
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  std::vector<at::Tensor> averaged;  // of the model's state, in its order; empty without averaging
  BatchOrder order;
  Schedule schedule{{}, 0, 1, 1};
  Json facts;

  std::int64_t step = 0;
  std::vector<EpochResult> epochs;
  bool owns_directory = false;  // else what an earlier training left there is kept
  EpochSums sums;               // of the open epoch
  double seconds = 0;           // of the open epoch's steps
  double waited = 0;

  void refuse_own_output() const;
  void remove_unfinished() const;
  void open_data();
  void open_model();
  std::int64_t total_steps() const { return training.epochs * order.steps_per_epoch(); }
  fs::path file(const char* name) const { return directory / name; }

  void load_checkpoint();
  void check_facts(const std::string& stored) const;
  void save_checkpoint();
  void take_directory();

  void train_step(BatchLoader& loader);
  void train_batch(const Batch& batch);
  void average();
  [[noreturn]] void refuse_loss(const at::Tensor& images) const;
  void refuse_parameters(const std::string& place) const;
  void end_epoch(double learning_rate);
  void validate(EpochResult& result);
  void with_averaged(const std::function<void()>& work);
  void write_models();
};

void Trainer::State::refuse_own_output() const {
  std::error_code absent;
  for (const char* name : {"model.pt", "last.pt", "checkpoint.pt"}) {
    if (!fs::equivalent(training.model, file(name), absent)) continue;
    throw Error(ExitCode::kUsage, training.model.string() +
                                      ": the training would write its result over this, its start; "
                                      "give another directory with -o");
  }
}

/// What a killed process left of files that it was about to replace.
void Trainer::State::remove_unfinished() const {
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename();
    const auto begins = [&](const char* output) {
      return name.starts_with(std::string(output) + ".");
    };
    const bool ours = std::any_of(kTrainingFiles.begin(), kTrainingFiles.end(), begins) ||
                      begins("training.toml");
    if (ours && name.ends_with(".new")) fs::remove(entry.path());
  }
}

void Trainer::State::open_data() {
  follow_card(training.data, read_model_card(training.model), training.model);
  const auto interpolation = training.data.preprocess.interpolation;
  if (training.augmentation.trivial_augment && interpolation && !can_turn(*interpolation)) {
    const std::string name = kInterpolationNames[static_cast<std::size_t>(*interpolation)];
    throw Error(ExitCode::kUsage,
                training.file.string() +
                    ": [augmentation] trivial_augment turns pictures by nearest, bilinear or "
                    "bicubic interpolation, not by " +
                    name + "; set preprocess.interpolation");
  }
  if (training.validation && !training.validation->preprocess.interpolation) {
    training.validation->preprocess.interpolation = training.data.preprocess.interpolation;
  }
  data = std::make_unique<Dataset>(Dataset::open(training.data));
  for (const std::string& skipped : data->skipped()) log_warning(skipped);
  order = {training.seed, data->size(), training.batch, training.accumulate};
  if (order.steps_per_epoch() == 0) {
    const bool many = training.accumulate > 1;
    throw Error(ExitCode::kInput, training.data.path.string() + ": has " +
                                      std::to_string(data->size()) + " images, fewer than a " +
                                      (many ? "step of " : "batch of ") +
                                      std::to_string(training.batch * training.accumulate) +
                                      "; set [training] batch" + (many ? " or accumulate" : ""));
  }
  if (!training.validation) return;
  validation = std::make_unique<Dataset>(Dataset::open(*training.validation));
  if (validation->classes() != data->classes()) {
    throw Error(ExitCode::kInput,
                training.validation->path.string() + ": its classes are not those of " +
                    training.data.path.string() + "; give both the same [data] classes");
  }
  if (validation->shape() != data->shape()) {
    throw Error(ExitCode::kInput, training.validation->path.string() +
                                      ": its images have another size than those of " +
                                      training.data.path.string() +
                                      "; set preprocess.resize or crop");
  }
}

void Trainer::State::open_model() {
  model = std::make_unique<TrainableModel>(training.model, training.device);
  card = model_card_json(training.model);
  const auto [channels, height, width] = data->shape();
  const at::NoGradGuard no_gradients;
  model->set_training(false);
  const at::Tensor probe =
      at::zeros({2, channels, height, width}, at::TensorOptions(at::Device(training.device)));
  check_classes(*data, training.data, training.model, model->forward(probe).size(1),
                read_model_card(training.model).classes);
  check_patterns(training.optimizer, model->parameters(), training.model);
  optimizer = make_optimizer(training.optimizer, model->parameters());
  if (training.ema > 0) {
    for (const NamedTensor& entry : model->state()) averaged.push_back(entry.value.clone());
  }
}

void Trainer::State::check_facts(const std::string& stored) const {
  const Json then = Json::parse(stored, nullptr, false);
  for (const auto& [name, what] : kFactNames) {
    const Json was = then.is_object() ? then.value(name, Json()) : Json();
    if (json_text(was) == json_text(facts[name])) continue;  // as it was written: as UTF-8
    throw Error(ExitCode::kInput,
                file("checkpoint.pt").string() + ": is of another training: " + what + " differs" +
                    (std::string(name) == "torch"
                         ? " (" + (was.is_string() ? was.get<std::string>() : "?") + ", now " +
                               facts[name].get<std::string>() + ")"
                         : "") +
                    "\n  start again with --force, or in another directory with -o");
  }
}

void Trainer::State::load_checkpoint() {
  const fs::path path = file("checkpoint.pt");
  if (!fs::exists(path)) return;
  check_records(path);
  torch::serialize::InputArchive archive;
  c10::IValue value;
  try {
    archive.load_from(path.string(), at::Device(training.device));
    archive.read("facts", value);
    check_facts(value.toStringRef());
    archive.read("threads", value);
    TorchRuntime::get().set_threads(value.toInt());
    archive.read("step", value);
    step = value.toInt();
    archive.read("log", value);
    epochs = parse_training_csv(value.toStringRef(), path.string());
    archive.read("seconds", value);
    seconds = value.toDouble();
    archive.read("waited", value);
    waited = value.toDouble();
    archive.read("images", value);
    sums.images = value.toInt();
    if (sums.images > 0) {
      archive.read("loss", sums.loss);
      archive.read("right", sums.right);
    }
    const at::NoGradGuard no_gradients;
    for (std::size_t i = 0; i < model->state().size(); ++i) {
      at::Tensor read;
      archive.read("state_" + std::to_string(i), read);
      at::Tensor target = model->state()[i].value;
      if (read.sizes() != target.sizes()) throw std::runtime_error("of another shape");
      target.copy_(read);
      if (!averaged.empty()) archive.read("averaged_" + std::to_string(i), averaged[i]);
    }
    torch::serialize::InputArchive inner;
    archive.read("optimizer", inner);
    optimizer->load(inner);
    if (step < 0 || step > total_steps() ||
        static_cast<std::int64_t>(epochs.size()) != step / order.steps_per_epoch()) {
      throw std::runtime_error("at a step that its log has not reached");
    }
  } catch (const Error&) {
    throw;
  } catch (const std::exception&) {
    throw Error(ExitCode::kInput,
                path.string() + ": is damaged or not a checkpoint; start again with --force");
  }
}

/// Ends what an earlier training has in the directory, once there is a checkpoint in its place.
void Trainer::State::take_directory() {
  write_file_atomically(file("training.toml"), training.text);
  if (step < total_steps()) {  // at the end they are replaced
    for (const char* name : {"model.pt", "last.pt"}) fs::remove(file(name));
  }
  owns_directory = true;
}

void Trainer::State::save_checkpoint() {
  torch::serialize::OutputArchive archive;
  archive.write("facts", c10::IValue(json_text(facts, -1)));
  archive.write("threads", c10::IValue(TorchRuntime::get().threads()));
  archive.write("step", c10::IValue(step));
  archive.write("log", c10::IValue(training_csv(epochs)));
  archive.write("seconds", c10::IValue(seconds));
  archive.write("waited", c10::IValue(waited));
  archive.write("images", c10::IValue(sums.images));
  if (sums.images > 0) {
    archive.write("loss", sums.loss, true);
    archive.write("right", sums.right, true);
  }
  for (std::size_t i = 0; i < model->state().size(); ++i) {
    archive.write("state_" + std::to_string(i), model->state()[i].value.detach(), true);
    if (!averaged.empty()) archive.write("averaged_" + std::to_string(i), averaged[i], true);
  }
  torch::serialize::OutputArchive inner(archive.compilation_unit());
  optimizer->save(inner);
  archive.write("optimizer", inner);
  std::ostringstream text;
  archive.save_to(text);
  if (!owns_directory) fs::remove(file("training.html"));
  write_file_atomically(file("checkpoint.pt"), std::move(text).str());
  write_file_atomically(file("log.csv"), training_csv(epochs));
  if (!owns_directory) take_directory();
}

/// Adds the gradients of a batch to those of its step.
void Trainer::State::train_batch(const Batch& batch) {
  const auto [images, labels] = on_device(batch, data->shape(), training.device);
  const at::Tensor logits = model->forward(images);
  const auto loss_of = [&](const at::Tensor& wanted) {
    return at::cross_entropy_loss(logits, wanted, {}, at::Reduction::Mean, -100,
                                  training.label_smoothing);
  };
  // Of mixed labels: the cross-entropy is linear in its target.
  const at::Tensor loss = batch.share == 1 ? loss_of(labels)
                                           : batch.share * loss_of(labels) +
                                                 (1 - batch.share) * loss_of(labels.roll(1));
  if (!std::isfinite(loss.item<double>())) refuse_loss(images);
  (training.accumulate == 1 ? loss : loss / static_cast<double>(training.accumulate)).backward();
  sums.add(loss, logits, labels);
}

void Trainer::State::train_step(BatchLoader& loader) {
  // Dropout draws from LibTorch's stream: a start of its own for every step, so that going on
  // draws the same.
  PhiloxStream random(training.seed, RandomDomain::kStep, static_cast<std::uint64_t>(step));
  torch::manual_seed(random.next64());
  for (auto& group : optimizer->param_groups()) group.options().set_lr(schedule.rate(step));
  optimizer->zero_grad();
  for (std::int64_t part = 0; part < training.accumulate; ++part) train_batch(*loader.next());
  if (training.optimizer.clip_norm > 0) {
    std::vector<at::Tensor> all;
    for (const NamedTensor& parameter : model->parameters()) all.push_back(parameter.value);
    torch::nn::utils::clip_grad_norm_(all, training.optimizer.clip_norm);
  }
  optimizer->step();
  ++step;
  if (!averaged.empty()) average();
}

/// Says why the step at hand gives no finite loss.
void Trainer::State::refuse_loss(const at::Tensor& images) const {
  const std::string place = "epoch " + std::to_string(step / order.steps_per_epoch() + 1) +
                            ", step " + std::to_string(step % order.steps_per_epoch() + 1) +
                            " of " + std::to_string(order.steps_per_epoch());
  if (!at::isfinite(images).all().item<bool>()) {
    throw Error(ExitCode::kInput,
                training.data.path.string() + ": an image of " + place + " holds NaN or Inf");
  }
  if (step == 0) {
    refuse_parameters(training.model.string() + ": ");
    throw Error(ExitCode::kInput,
                training.model.string() + ": gives no finite loss before it is trained");
  }
  throw Error(ExitCode::kFailure, "the loss is no longer finite in " + place + kCalmer);
}

/// Throws where a parameter is NaN or Inf.
void Trainer::State::refuse_parameters(const std::string& place) const {
  for (const NamedTensor& parameter : model->parameters()) {
    if (at::isfinite(parameter.value).all().item<bool>()) continue;
    throw Error(step == 0 ? ExitCode::kInput : ExitCode::kFailure,
                place + "the parameter '" + parameter.name + "' holds NaN or Inf" +
                    (step == 0 ? "" : kCalmer));
  }
}

void Trainer::State::average() {
  if (step % training.ema_every != 0) return;
  const at::NoGradGuard no_gradients;
  const bool copied = static_cast<double>(step) <=
                      training.ema_after * static_cast<double>(order.steps_per_epoch());
  const double decay = copied ? 0 : training.ema;
  for (std::size_t i = 0; i < averaged.size(); ++i) {
    const at::Tensor& value = model->state()[i].value;
    if (value.is_floating_point()) {
      averaged[i].lerp_(value.detach(), 1 - decay);
    } else {
      averaged[i].copy_(value);
    }
  }
}

/// Runs `work` with the averaged weights in the model, if there are any.
void Trainer::State::with_averaged(const std::function<void()>& work) {
  const at::NoGradGuard no_gradients;
  std::vector<at::Tensor> kept;
  const auto put = [&](const std::vector<at::Tensor>& values) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      at::Tensor target = model->state()[i].value;
      target.copy_(values[i]);
    }
  };
  if (!averaged.empty()) {
    for (const NamedTensor& entry : model->state()) kept.push_back(entry.value.detach().clone());
  }
  put(averaged);
  work();
  put(kept);
}

void Trainer::State::validate(EpochResult& result) {
  EpochSums found;
  with_averaged([&] {
    found = evaluate(*model, *validation, training.batch, training.workers, training.device);
  });
  result.validation_loss = found.mean_loss();
  result.validation_accuracy = found.accuracy();
  if (!std::isfinite(result.validation_loss)) {
    log_warning("the validation loss of epoch " + std::to_string(result.epoch) +
                " is not finite: an image or a running statistic of the model holds NaN or Inf");
  }
}

void Trainer::State::end_epoch(double learning_rate) {
  EpochResult result;
  result.epoch = step / order.steps_per_epoch();
  refuse_parameters("after epoch " + std::to_string(result.epoch) + " ");
  result.step = step;
  result.learning_rate = learning_rate;
  result.loss = sums.mean_loss();
  result.accuracy = sums.accuracy();
  result.seconds = seconds;
  result.images_per_second = static_cast<double>(sums.images) / seconds;
  result.waited_seconds = waited;
  if (validation) validate(result);
  epochs.push_back(result);
  sums = {};
  seconds = waited = 0;
}

void Trainer::State::write_models() {
  Json document = card;
  const auto [channels, height, width] = data->shape();
  document["input"] = {channels, height, width};
  if (!document.contains("classes") || !document["classes"].is_array()) {
    document["classes"] = data->classes();
  }
  const EpochResult& last = epochs.back();
  document["trained"] = {{"epochs", training.epochs},
                         {"seed", training.seed},
                         {"images", data->size()},
                         {"batch", training.batch},
                         {"training_sha256", facts["training"]},
                         {"data_sha256", facts["data"]},
                         {"model_sha256", facts["model"]}};
  if (validation) document["trained"]["validation_accuracy"] = last.validation_accuracy;
  const std::string text = json_text(document);
  if (!averaged.empty()) {
    model->save(file("last.pt"), text);
  } else {
    fs::remove(file("last.pt"));  // of an earlier training
  }
  with_averaged([&] { model->save(file("model.pt"), text); });
}

Trainer::Trainer(const Training& training, bool resume) : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.training = training;
  state.directory = training.output;
  if (training.workers == 0) {
    const std::int64_t cores = std::thread::hardware_concurrency();
    state.training.workers =
        std::max<std::int64_t>(1, training.device == "cpu" ? cores / 4 : cores);
  }
  state.refuse_own_output();
  TorchRuntime::get().set_threads(training.threads);
  if (training.device != "cpu") set_cuda_arithmetic(training.tf32, false);
  state.open_data();
  state.open_model();
  state.schedule = Schedule(training.schedule, training.optimizer.learning_rate, training.epochs,
                            state.order.steps_per_epoch());
  const auto interpolation =
      interpolation_of(state.training.data.preprocess).value_or(Interpolation::kBilinear);
  const bool usual = interpolation == Interpolation::kBilinear;
  state.facts = {
      {"training", sha256_text(training.text)},
      {"interpolation", usual ? "" : kInterpolationNames[static_cast<std::size_t>(interpolation)]},
      {"data", state.data->digest()},
      {"model", sha256_file(training.model)},
      {"validation", state.validation ? state.validation->digest() : ""},
      {"torch", TorchRuntime::get().version()}};
  std::error_code error;
  fs::create_directories(state.directory, error);
  if (error) {
    throw Error(ExitCode::kFailure,
                state.directory.string() + ": cannot be made: " + error.message());
  }
  state.lock = std::make_unique<RunLock>(state.directory);
  state.remove_unfinished();
  if (resume) state.load_checkpoint();
  if (state.step > 0) state.take_directory();
}

Trainer::~Trainer() = default;

std::int64_t Trainer::epochs_done() const { return state_->step / state_->order.steps_per_epoch(); }
std::int64_t Trainer::parameters() const {
  std::int64_t count = 0;
  for (const NamedTensor& parameter : state_->model->parameters()) count += parameter.value.numel();
  return count;
}
std::int64_t Trainer::images() const { return state_->data->size(); }
std::int64_t Trainer::validation_images() const {
  return state_->validation ? state_->validation->size() : 0;
}
const std::vector<EpochResult>& Trainer::epochs() const { return state_->epochs; }
std::int64_t Trainer::threads() const { return TorchRuntime::get().threads(); }

TrainEnd Trainer::run(const std::atomic<bool>& stop,
                      const std::function<void(const EpochResult&)>& report) {
  State& state = *state_;
  const std::int64_t accumulate = state.training.accumulate;
  const std::int64_t batch = state.training.batch * accumulate;
  Progress progress("images", state.total_steps() * batch, state.step * batch);
  BatchLoader loader(*state.data, state.training.data.preprocess, state.training.augmentation,
                     state.order, state.step * accumulate, state.total_steps() * accumulate,
                     state.training.workers);
  auto saved = Clock::now();
  double waited = 0;
  while (state.step < state.total_steps()) {
    const auto start = Clock::now();
    const double rate = state.schedule.rate(state.step);
    state.model->set_training(true);
    state.train_step(loader);
    state.seconds += seconds_since(start);
    state.waited += loader.waited() - waited;
    waited = loader.waited();
    progress.update(state.step * batch, loss_text(state.sums));
    const bool ended = state.step % state.order.steps_per_epoch() == 0;
    if (ended) state.end_epoch(rate);
    const bool due = seconds_since(saved) > 60 * state.training.checkpoint_minutes;
    if (ended || due || stop) {
      state.save_checkpoint();
      saved = Clock::now();
    }
    if (ended) report(state.epochs.back());
    if (stop && state.step < state.total_steps()) return TrainEnd::kInterrupted;
  }
  progress.finish();
  state.write_models();
  return TrainEnd::kDone;
}

}  // namespace bitfall
