#include "trainable_model.h"

#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/script.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <unordered_map>

#include "atomic_file.h"
#include "error.h"
#include "torch_message.h"

namespace bitfall {
namespace {

namespace jit = torch::jit;

Error input_error(const std::filesystem::path& path, const std::string& problem) {
  return Error(ExitCode::kInput, path.string() + ": " + problem);
}

/// Where an operation gets its flag `training` from, if it has one.
const jit::Value* training_flag(const jit::Node* node) {
  static const std::set<std::string> kNames = {"aten::batch_norm",
                                               "aten::instance_norm",
                                               "aten::dropout",
                                               "aten::dropout_",
                                               "aten::alpha_dropout",
                                               "aten::feature_dropout",
                                               "aten::batch_norm_impl_index"};
  if (kNames.count(node->kind().toQualString()) == 0) return nullptr;
  const auto* schema = node->maybeSchema();
  const auto index = schema == nullptr ? std::nullopt : schema->argumentIndexWithName("train");
  const auto longer = schema == nullptr ? std::nullopt : schema->argumentIndexWithName("training");
  if (index) return node->input(static_cast<std::size_t>(*index));
  if (longer) return node->input(static_cast<std::size_t>(*longer));
  return nullptr;
}

/// The kind of the first operation whose `training` is a constant False; "" if none is.
std::string baked_inference(jit::Block* block) {
  for (jit::Node* node : block->nodes()) {
    if (const jit::Value* flag = training_flag(node)) {
      const auto constant = jit::toIValue(flag);
      if (constant && constant->isBool() && !constant->toBool()) {
        return std::string(node->kind().toUnqualString());
      }
    }
    for (jit::Block* inner : node->blocks()) {
      if (const auto found = baked_inference(inner); !found.empty()) return found;
    }
  }
  return "";
}

/// recorded_method: what export_model.py says in the file.
void refuse_inference_only(const jit::Module& module, const std::filesystem::path& path,
                           const std::string& recorded_method) {
  const auto graph = module.get_method("forward").graph()->copy();
  jit::Inline(*graph);
  const std::string operation = baked_inference(graph->block());
  const bool traced = recorded_method == "trace";
  if (operation.empty() && !traced) return;
  throw input_error(path, "is for inference only: " +
                              (operation.empty() ? "it was traced"
                                                 : "its " + operation +
                                                       " has `training = False` written into it, "
                                                       "as tracing does") +
                              "; export it with torch.jit.script (export_model.py --script)");
}

/// Each operation by itself, as PyTorch without TorchScript: nothing is profiled, fused or
/// differentiated ahead.
void use_eager_executor() {
  jit::getExecutorMode() = true;
  jit::getProfilingMode() = false;
}

}  // namespace

struct TrainableModel::State {
  std::filesystem::path path;
  jit::Module module;
  std::vector<NamedTensor> parameters;
  std::vector<NamedTensor> state;
};

TrainableModel::TrainableModel(const std::filesystem::path& path, const std::string& device)
    : state_(std::make_unique<State>()) {
  use_eager_executor();
  State& state = *state_;
  state.path = path;
  nlohmann::json card;
  try {
    std::unordered_map<std::string, std::string> extra = {{"bitfall.json", ""}};
    state.module = jit::load(path.string(), c10::Device(device), extra);
    card = nlohmann::json::parse(extra["bitfall.json"], nullptr, false);
  } catch (const std::exception& error) {
    throw input_error(path, "not a readable TorchScript model: " + torch_message(error));
  }
  if (!state.module.find_method("forward")) throw input_error(path, "has no forward method");
  if (!card.is_object() || !card.value("method", nlohmann::json()).is_string()) {
    card = nlohmann::json::object();
  }
  refuse_inference_only(state.module, path, card.value("method", ""));
  for (const auto& parameter : state.module.named_parameters()) {
    state.state.push_back({parameter.name, parameter.value});
    if (parameter.value.requires_grad()) {
      state.parameters.push_back({parameter.name, parameter.value});
    }
  }
  for (const auto& buffer : state.module.named_buffers()) {
    state.state.push_back({buffer.name, buffer.value});
  }
  if (state.parameters.empty()) {
    throw input_error(path,
                      "has no parameters to train: it was frozen (torch.jit.freeze) or exported "
                      "with requires_grad off; export it again with torch.jit.script");
  }
}

TrainableModel::~TrainableModel() = default;

const std::vector<NamedTensor>& TrainableModel::parameters() const { return state_->parameters; }
const std::vector<NamedTensor>& TrainableModel::state() const { return state_->state; }

void TrainableModel::set_training(bool on) { state_->module.train(on); }

at::Tensor TrainableModel::forward(const at::Tensor& images) {
  try {
    c10::IValue answer = state_->module.forward({images});
    if (answer.isTuple()) answer = answer.toTupleRef().elements()[0];
    if (answer.isTensor() && answer.toTensor().dim() == 2 &&
        answer.toTensor().size(0) == images.size(0)) {
      return answer.toTensor();
    }
  } catch (const std::exception& error) {
    std::ostringstream shape;
    shape << images.sizes();
    throw input_error(state_->path,
                      "cannot take images of " + shape.str() + ": " + torch_message(error));
  }
  throw input_error(state_->path, "is no classifier: it does not answer with [images, classes]");
}

void TrainableModel::save(const std::filesystem::path& path, const std::string& card) {
  const bool training = state_->module.is_training();
  state_->module.eval();
  std::ostringstream archive;
  state_->module.save(archive, {{"bitfall.json", card}});
  state_->module.train(training);
  write_file_atomically(path, std::move(archive).str());
}

}  // namespace bitfall
