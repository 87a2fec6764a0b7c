#include "trainable_model.h"

#include <torch/csrc/jit/passes/inliner.h>
#include <torch/script.h>

#include <set>
#include <sstream>

#include "atomic_file.h"
#include "error.h"
#include "model_card.h"
#include "torch_message.h"
#include "torchscript_file.h"

namespace bitfall {
namespace {

namespace jit = torch::jit;

Error input_error(const std::filesystem::path& path, const std::string& problem) {
  return Error(ExitCode::kInput, path.string() + ": " + problem);
}

/// Where an operation gets its flag `training` from, if it has one.
const jit::Value* training_flag(const jit::Node* node) {
  static const std::set<std::string> kNames = {"aten::batch_norm", "aten::dropout",
                                               "aten::dropout_", "aten::alpha_dropout",
                                               "aten::feature_dropout"};
  const auto* schema = node->maybeSchema();
  if (kNames.count(node->kind().toQualString()) == 0 || schema == nullptr) return nullptr;
  for (const char* name : {"training", "train"}) {
    if (const auto index = schema->argumentIndexWithName(name)) {
      return node->input(static_cast<std::size_t>(*index));
    }
  }
  return nullptr;
}

/// The kind of the first operation that cannot be switched between training and inference; "" if
/// none is so.
std::string baked_inference(jit::Block* block) {
  for (jit::Node* node : block->nodes()) {
    if (const jit::Value* flag = training_flag(node)) {
      const auto constant = jit::toIValue(flag);
      const bool norm = node->kind() == c10::aten::batch_norm;
      if (constant && constant->isBool() && (norm || !constant->toBool())) {
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
                                                       " has `training` written into it, "
                                                       "as tracing does") +
                              "; export it with torch.jit.script (export_model.py --script)");
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
  State& state = *state_;
  state.path = path;
  state.module = load_torchscript(path, device);
  if (!state.module.find_method("forward")) throw input_error(path, "has no forward method");
  refuse_inference_only(state.module, path, read_model_card(path).method);
  std::set<const void*> met;  // a tensor of two names is one parameter
  for (const auto& parameter : state.module.named_parameters()) {
    if (!met.insert(parameter.value.unsafeGetTensorImpl()).second) continue;
    state.state.push_back({parameter.name, parameter.value});
    if (parameter.value.requires_grad()) {
      state.parameters.push_back({parameter.name, parameter.value});
    }
  }
  for (const auto& buffer : state.module.named_buffers()) {
    if (!met.insert(buffer.value.unsafeGetTensorImpl()).second) continue;
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
    if (answer.isTuple() && !answer.toTupleRef().elements().empty()) {
      answer = c10::IValue(answer.toTupleRef().elements()[0]);
    }
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
  throw input_error(state_->path, "is not a classifier: it does not answer with [images, classes]");
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
