#include "head_module.h"

#include <torch/script.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "atomic_file.h"
#include "error.h"
#include "program.h"
#include "torchscript_file.h"

namespace bitfall {
namespace {

namespace jit = torch::jit;

Error input_error(const std::filesystem::path& path, const std::string& problem) {
  return Error(ExitCode::kInput, path.string() + ": " + problem);
}

/// The parts of "classifier.6".
std::vector<std::string> path_parts(const std::string& path) {
  std::vector<std::string> parts;
  std::stringstream text(path);
  for (std::string part; std::getline(text, part, '.');) parts.push_back(part);
  return parts;
}

/// A submodule and where it hangs.
struct Place {
  jit::Module parent;
  std::string attribute;
  jit::Module module;
};

Place find_place(const jit::Module& root, const std::filesystem::path& path,
                 const std::string& module) {
  Place place{root, "", root};
  for (const std::string& part : path_parts(module)) {
    const auto& object = place.module._ivalue();
    const auto slot = object->type()->findAttributeSlot(part);
    if (!slot || !object->type()->getAttribute(*slot)->is_module()) {
      throw input_error(path, "has no module '" + module + "'");
    }
    place.parent = place.module;
    place.attribute = part;
    place.module = jit::Module(object->getSlot(*slot).toObject());
  }
  return place;
}

/// forward(x) is linear(x, weight, bias) and nothing else.
bool is_plain_linear(const jit::Module& module) {
  const auto method = module.find_method("forward");
  if (!method || method->num_inputs() != 2) return false;
  const auto graph = method->graph()->copy();
  int linear = 0;
  for (const jit::Node* node : graph->nodes()) {
    const std::string kind = node->kind().toQualString();
    if (kind == "aten::linear") {
      ++linear;
    } else if (kind == "prim::CallFunction") {  // torch.nn.functional.linear
      const jit::Node* callee = node->input(0)->node();
      if (callee->kind() != c10::prim::Constant || callee->s(c10::attr::name) != "linear") {
        return false;
      }
      ++linear;
    } else if (kind != "prim::GetAttr" && kind != "prim::Constant") {
      return false;
    }
  }
  return linear == 1;
}

/// A head of several layers that head_module() made.
bool is_head(const jit::Module& module) {
  const std::string name = module.type()->name()->qualifiedName();
  return name.find(".bitfall.") != std::string::npos && name.ends_with(".Head");
}

/// Throws if another module has the type of `parent`: what changes in the one would in the other.
void refuse_shared(const jit::Module& root, const Place& place, const std::filesystem::path& path,
                   const std::string& module) {
  for (const auto& [name, other] : root.named_modules()) {
    if (other.type() != place.parent.type() || other._ivalue() == place.parent._ivalue()) continue;
    throw input_error(path, "the module that holds '" + module + "' shares its code with '" + name +
                                "': give the two different classes and export again");
  }
}

/// Where code reads the attribute of an object of this type. Throws std::invalid_argument naming
/// what it does with it, other than calling it.
void collect_reads(jit::Block* block, const c10::ClassTypePtr& owner, const std::string& attribute,
                   std::vector<jit::Value*>& reads) {
  for (jit::Node* node : block->nodes()) {
    for (jit::Block* inner : node->blocks()) collect_reads(inner, owner, attribute, reads);
    if (node->kind() != c10::prim::GetAttr || node->s(c10::attr::name) != attribute ||
        node->input()->type() != owner) {
      continue;
    }
    for (const jit::Use& use : node->output()->uses()) {
      const bool call = use.user->kind() == c10::prim::CallMethod &&
                        use.user->s(c10::attr::name) == "forward" && use.offset == 0;
      if (call) continue;
      throw std::invalid_argument(use.user->hasAttribute(c10::attr::name)
                                      ? "'" + use.user->s(c10::attr::name) + "'"
                                      : std::string("itself"));
    }
    reads.push_back(node->output());
  }
}

/// Puts `module` in the place of the attribute, in the type's code and in the object.
/// Throws Error(kInput) where some code does more with it than to call it.
void exchange(const jit::Module& root, const Place& place, const jit::Module& module,
              const std::filesystem::path& path) {
  const c10::ClassTypePtr owner = place.parent.type();
  std::vector<jit::Value*> reads;
  for (const auto& [name, other] : root.named_modules()) {
    for (const jit::Method& method : other.get_methods()) {
      try {
        collect_reads(method.graph()->block(), owner, place.attribute, reads);
      } catch (const std::invalid_argument& use) {
        throw input_error(path, "its method '" + (name.empty() ? "" : name + ".") + method.name() +
                                    "' reads " + use.what() + " of the layer '" + place.attribute +
                                    "', so a head cannot take its place; let it call the layer, or "
                                    "export the model without this method");
      }
    }
  }
  for (jit::Value* read : reads) read->setType(module.type());
  owner->unsafeChangeAttributeType(place.attribute, module.type());
  place.parent._ivalue()->setAttr(place.attribute, module._ivalue());
}

at::Tensor tensor_of(const std::vector<float>& values, at::IntArrayRef shape) {
  return at::from_blob(const_cast<float*>(values.data()), shape, at::kFloat).clone();
}

jit::Module new_module(const jit::Module& root, const std::string& name) {
  jit::Module module(c10::QualifiedName("__torch__.bitfall." + name),
                     root._ivalue()->compilation_unit(), /*shouldMangle=*/true);
  module.register_attribute("training", c10::BoolType::get(), root.is_training());
  return module;
}

void register_weight(jit::Module& module, const char* name, at::Tensor value, bool trainable) {
  value.set_requires_grad(trainable);  // what is not marked here is never trained
  module.register_parameter(name, value, /*is_buffer=*/false);
}

jit::Module linear_module(const jit::Module& root, const HeadLayer& layer) {
  jit::Module module = new_module(root, "Linear");
  register_weight(module, "weight", tensor_of(layer.weight, {layer.outputs, layer.inputs}),
                  layer.trainable);
  if (!layer.bias.empty()) {
    register_weight(module, "bias", tensor_of(layer.bias, {layer.outputs}), layer.trainable);
  }
  module.define(
      "def forward(self, input: Tensor) -> Tensor:\n  return torch.linear(input, self.weight, " +
      std::string(layer.bias.empty() ? "None" : "self.bias") + ")\n");
  return module;
}

jit::Module normalise_module(const jit::Module& root, const HeadLayer& layer) {
  jit::Module module = new_module(root, "Normalise");
  module.register_attribute("epsilon", c10::FloatType::get(), layer.epsilon);
  // As torch.nn.functional.normalize; the gradient of a zero vector's length is 0, not NaN.
  module.define(R"(
def forward(self, input: Tensor) -> Tensor:
  length = torch.norm(input, 2, [-1], True)
  return torch.div(input, torch.clamp_min(length, self.epsilon))
)");
  return module;
}

jit::Module scale_module(const jit::Module& root, const HeadLayer& layer) {
  jit::Module module = new_module(root, "Scale");
  register_weight(module, "log_factor", at::scalar_tensor(layer.log_factor, at::kFloat),
                  layer.trainable);
  module.define(R"(
def forward(self, input: Tensor) -> Tensor:
  return torch.mul(input, torch.exp(self.log_factor))
)");
  return module;
}

jit::Module activation_module(const jit::Module& root, const HeadLayer& layer) {
  jit::Module module = new_module(root, "Activation");
  module.register_attribute("function", c10::StringType::get(), layer.function);
  module.define("def forward(self, input: Tensor) -> Tensor:\n  return torch." + layer.function +
                "(input)\n");
  return module;
}

jit::Module distance_module(const jit::Module& root, const HeadLayer& layer) {
  jit::Module module = new_module(root, "Distance");
  module.register_attribute("factor", c10::FloatType::get(), layer.factor);
  register_weight(module, "centres", tensor_of(layer.weight, {layer.outputs, layer.inputs}),
                  layer.trainable);
  module.define(R"(
def forward(self, input: Tensor) -> Tensor:
  squares = torch.sum(torch.mul(input, input), [-1], True)
  centre_squares = torch.sum(torch.mul(self.centres, self.centres), [-1])
  products = torch.linear(input, self.centres, None)
  distances = torch.add(torch.sub(squares, torch.mul(products, 2.0)), centre_squares)
  return torch.mul(distances, -self.factor)
)");
  return module;
}

jit::Module layer_module(const jit::Module& root, const HeadLayer& layer) {
  switch (layer.kind) {
    case HeadLayerKind::kLinear:
      return linear_module(root, layer);
    case HeadLayerKind::kNormalise:
      return normalise_module(root, layer);
    case HeadLayerKind::kScale:
      return scale_module(root, layer);
    case HeadLayerKind::kActivation:
      return activation_module(root, layer);
    case HeadLayerKind::kDistance:
      return distance_module(root, layer);
  }
  throw std::logic_error("a head layer of no kind");
}

jit::Module head_module(const jit::Module& root, const Head& layers) {
  if (layers.size() == 1 && layers[0].kind == HeadLayerKind::kLinear) {
    return linear_module(root, layers[0]);
  }
  jit::Module module = new_module(root, "Head");
  std::string forward = "def forward(self, input: Tensor) -> Tensor:\n";
  for (const HeadLayer& layer : layers) {
    module.register_module(layer.name, layer_module(root, layer));
    forward += "  input = self." + layer.name + ".forward(input)\n";
  }
  module.define(forward + "  return input\n");
  return module;
}

std::vector<float> values_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

HeadLayer read_layer(const std::filesystem::path& path, const jit::Module& module,
                     const std::string& name) {
  HeadLayer layer;
  layer.name = name;
  if (module.hasattr("epsilon")) {
    layer.kind = HeadLayerKind::kNormalise;
    layer.epsilon = module.attr("epsilon").toDouble();
    return layer;
  }
  if (module.hasattr("log_factor")) {
    const at::Tensor value = module.attr("log_factor").toTensor();
    layer.kind = HeadLayerKind::kScale;
    layer.log_factor = value.item<double>();
    layer.trainable = value.requires_grad();
    return layer;
  }
  if (module.hasattr("function") && module.attr("function").isString()) {
    layer.kind = HeadLayerKind::kActivation;
    layer.function = module.attr("function").toStringRef();
    return layer;
  }
  if (module.hasattr("centres") && module.attr("centres").isTensor()) {
    const at::Tensor centres = module.attr("centres").toTensor();
    layer.kind = HeadLayerKind::kDistance;
    layer.outputs = centres.size(0);
    layer.inputs = centres.size(1);
    layer.weight = values_of(centres);
    layer.factor = module.attr("factor").toDouble();
    layer.trainable = centres.requires_grad();
    return layer;
  }
  if (!module.hasattr("weight") || !module.attr("weight").isTensor() ||
      module.attr("weight").toTensor().dim() != 2) {
    throw input_error(path, "its head's layer '" + name + "' is not one that Bitfall made");
  }
  const at::Tensor weight = module.attr("weight").toTensor();
  layer.outputs = weight.size(0);
  layer.inputs = weight.size(1);
  layer.weight = values_of(weight);
  layer.trainable = weight.requires_grad();
  if (module.hasattr("bias") && module.attr("bias").isTensor()) {
    layer.bias = values_of(module.attr("bias").toTensor());
  }
  return layer;
}

/// Whether each row of `answer` [images, classes] is one of the layer's output [..., classes]: of
/// tokens, say, the first.
bool consists_of_rows(const at::Tensor& answer, const at::Tensor& output) {
  if (output.dim() < 2 || output.size(-1) != answer.size(-1)) return false;
  const at::Tensor rows = output.reshape({1, -1, output.size(-1)}).nan_to_num();
  return answer.nan_to_num().unsqueeze(1).eq(rows).all(-1).any(-1).all().item<bool>();
}

bool is_linear(const Step& step) { return step.operation == "linear"; }

/// Throws where there is none.
int last_linear_step(const std::vector<Step>& steps, const std::filesystem::path& path) {
  const auto found = std::find_if(steps.rbegin(), steps.rend(), is_linear);
  if (found != steps.rend()) return static_cast<int>(steps.rend() - found) - 1;
  const auto last = std::find_if(steps.rbegin(), steps.rend(),
                                 [](const Step& step) { return !step.operation.empty(); });
  throw input_error(
      path, "has no linear layer that a head could replace; its last operation is " +
                (last == steps.rend() ? "nothing" : last->operation + " in '" + last->path + "'"));
}

/// Throws where something is computed of the output of step `linear`: it is not the answer then.
void refuse_computed_answer(const std::vector<Step>& steps, int linear,
                            const std::filesystem::path& path) {
  const Step& last = steps[static_cast<std::size_t>(linear)];
  std::set<int> reached(last.outputs.begin(), last.outputs.end());
  for (std::size_t i = static_cast<std::size_t>(linear) + 1; i < steps.size(); ++i) {
    const Step& step = steps[i];
    const bool reads = std::any_of(step.reads.begin(), step.reads.end(),
                                   [&](int slot) { return reached.count(slot) > 0; });
    if (!reads) continue;
    if (!step.operation.empty()) {
      throw input_error(path, "after its last linear layer ('" + last.path + "') comes " +
                                  step.operation +
                                  ": a head replaces a linear layer whose output is the answer; "
                                  "export the model without what follows");
    }
    reached.insert(step.outputs.begin(), step.outputs.end());
  }
}

/// Throws where the answer for the images is not made of rows of the output of step `linear`.
void refuse_changed_answer(const Program& program, int linear, const at::Tensor& images,
                           const std::filesystem::path& path) {
  const Step& last = program.steps()[static_cast<std::size_t>(linear)];
  Slots slots = program.start(images);
  program.run(slots, 0, linear + 1);
  // Copied, as a later step may write into it.
  const at::Tensor own = slots[static_cast<std::size_t>(last.output)].toTensor().cpu().clone();
  program.run(slots, linear + 1, static_cast<int>(program.steps().size()));
  if (consists_of_rows(program.output(slots), own.to(at::kFloat))) return;
  throw input_error(path, "the answer is not the output of its last linear layer ('" + last.path +
                              "') as it is; export the model without what is between them");
}

}  // namespace

at::Tensor probe_images(std::int64_t batch, std::array<std::int64_t, 3> shape) {
  const auto [channels, height, width] = shape;
  return at::arange(batch * channels * height * width, at::kFloat)
      .sin()
      .reshape({batch, channels, height, width});
}

LastLinear find_last_linear(const Program& program, const at::Tensor& images,
                            const std::filesystem::path& path) {
  const int index = last_linear_step(program.steps(), path);
  const Step& linear = program.steps()[static_cast<std::size_t>(index)];
  refuse_computed_answer(program.steps(), index, path);
  refuse_changed_answer(program, index, images, path);
  const auto parameter = [&](const std::string& name) {
    return std::find_if(program.parameters().begin(), program.parameters().end(),
                        [&](const Parameter& other) { return other.name == linear.path + name; });
  };
  const auto weight = parameter(".weight");
  if (linear.path.empty() || weight == program.parameters().end() ||
      std::count(weight->slots.begin(), weight->slots.end(), linear.inputs[1]) == 0) {
    throw input_error(path, "its last linear layer ('" + linear.path +
                                "') is not a module with a parameter `weight`, so a head cannot "
                                "take its place");
  }
  const auto calls =
      std::count_if(program.steps().begin(), program.steps().end(),
                    [&](const Step& step) { return is_linear(step) && step.path == linear.path; });
  if (calls > 1) {
    throw input_error(path, "its last linear layer ('" + linear.path + "') runs " +
                                std::to_string(calls) +
                                " times: a head would take its place at all of them; give the "
                                "answer a layer of its own and export again");
  }
  return {linear.path, weight->value.size(1), weight->value.size(0),
          parameter(".bias") != program.parameters().end()};
}

void replace_head(const std::filesystem::path& from, const std::string& module, const Head& layers,
                  const std::string& card, const std::filesystem::path& to) {
  const jit::Module root = load_torchscript(from, "cpu");
  const Place place = find_place(root, from, module);
  if (!is_plain_linear(place.module) && !is_head(place.module)) {
    throw input_error(from, "the module '" + module +
                                "' does more than one linear layer: no head can take its place");
  }
  refuse_shared(root, place, from, module);
  exchange(root, place, head_module(root, layers), from);
  std::ostringstream archive;
  root.save(archive, {{"bitfall.json", card}});
  write_file_atomically(to, std::move(archive).str());
}

Head read_head(const std::filesystem::path& path, const std::string& module) {
  const jit::Module root = load_torchscript(path, "cpu");
  const jit::Module place = find_place(root, path, module).module;
  if (place.hasattr("weight")) return {read_layer(path, place, path_parts(module).back())};
  if (!is_head(place)) throw input_error(path, "the module '" + module + "' is not a head");
  Head head;
  std::int64_t width = 0;  // of the values so far; 0 = any
  for (const auto& [name, child] : place.named_children()) {
    head.push_back(read_layer(path, child, name));
    const HeadLayer& layer = head.back();
    const bool sized =
        layer.kind == HeadLayerKind::kLinear || layer.kind == HeadLayerKind::kDistance;
    if (!sized) continue;
    const bool fits = width == 0 || layer.inputs == width;
    const bool biased =
        layer.bias.empty() || static_cast<std::int64_t>(layer.bias.size()) == layer.outputs;
    if (!fits || !biased) throw input_error(path, "its head's layer '" + name + "' does not fit");
    width = layer.outputs;
  }
  if (width == 0) throw input_error(path, "its head at '" + module + "' has no linear layer");
  return head;
}

}  // namespace bitfall
