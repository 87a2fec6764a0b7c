#include "model_costs.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "model.h"
#include "program.h"

namespace bitfall {
namespace {

// The operands of a step and its result.
struct Call {
  std::vector<c10::IValue> in;
  at::Tensor out;
  at::Tensor tensor(std::size_t i) const { return in.at(i).toTensor(); }
};

std::int64_t convolution(const Call& call) {
  const at::Tensor weight = call.tensor(1);  // [out, in / groups, kernel...]
  return call.out.numel() * (weight.numel() / weight.size(0));
}

std::int64_t transposed_convolution(const Call& call) {
  const at::Tensor weight = call.tensor(1);  // [in, out / groups, kernel...]
  return call.tensor(0).numel() * (weight.numel() / weight.size(0));
}

std::int64_t general_convolution(const Call& call) {
  return call.in.at(6).toBool() ? transposed_convolution(call) : convolution(call);
}

// Of a product whose left factor is operand `Left`, [..., rows, inner].
template <std::size_t Left>
std::int64_t product(const Call& call) {
  return call.out.numel() * call.tensor(Left).size(-1);
}

// Queries [..., L, E], keys [..., S, E], values [..., S, V] give L S E and L S V products.
std::int64_t attention(const Call& call) {
  const at::Tensor queries = call.tensor(0), keys = call.tensor(1), values = call.tensor(2);
  const std::int64_t rows = queries.numel() / queries.size(-1);
  return rows * keys.size(-2) * (queries.size(-1) + values.size(-1));
}

// Projections of `tokens` vectors [batch, L, E] to queries, keys and values, attention of all to
// all, and the projection of its result.
std::int64_t self_attention(const at::Tensor& tokens, const at::Tensor& in_weight,
                            const at::Tensor& out_weight) {
  const std::int64_t rows = tokens.numel() / tokens.size(-1);
  return rows * (in_weight.numel() + 2 * tokens.size(-2) * tokens.size(-1) + out_weight.numel());
}

// torch.nn.MultiheadAttention in inference: the same tensor as query, key and value.
std::int64_t fused_attention(const Call& call) {
  return self_attention(call.tensor(0), call.tensor(5), call.tensor(7));
}

// torch.nn.TransformerEncoderLayer in inference: attention and two linear layers.
std::int64_t fused_encoder_layer(const Call& call) {
  const at::Tensor tokens = call.tensor(0);
  return self_attention(tokens, call.tensor(3), call.tensor(5)) +
         tokens.numel() / tokens.size(-1) * (call.tensor(14).numel() + call.tensor(16).numel());
}

// The product of the extents of all labels.
std::int64_t einsum(const Call& call) {
  std::string equation = call.in.at(0).toStringRef();
  const std::vector<at::Tensor> operands = call.in.at(1).toTensorVector();
  std::erase(equation, ' ');
  if (operands.size() != 2 || equation.find('.') != std::string::npos) return 0;
  std::map<char, std::int64_t> extents;
  std::size_t operand = 0;
  std::int64_t dimension = 0;
  for (const char c : equation.substr(0, equation.find("->"))) {
    if (c == ',') {
      ++operand;
      dimension = 0;
      continue;
    }
    std::int64_t& extent = extents[c];  // one of two operands may have it as 1, to be broadcast
    extent = std::max(extent, operands.at(operand).size(dimension++));
  }
  std::int64_t products = 1;
  for (const auto& [label, extent] : extents) products *= extent;
  return products;
}

// Multiply-accumulates by operator.
const std::unordered_map<std::string, std::int64_t (*)(const Call&)>& counters() {
  static const std::unordered_map<std::string, std::int64_t (*)(const Call&)> kCounters = {
      {"aten::conv1d", convolution},
      {"aten::conv2d", convolution},
      {"aten::conv3d", convolution},
      {"aten::_convolution", general_convolution},
      {"aten::convolution", general_convolution},
      {"aten::conv_transpose1d", transposed_convolution},
      {"aten::conv_transpose2d", transposed_convolution},
      {"aten::conv_transpose3d", transposed_convolution},
      {"aten::linear", product<0>},
      {"aten::mm", product<0>},
      {"aten::bmm", product<0>},
      {"aten::mv", product<0>},
      {"aten::matmul", product<0>},
      {"aten::addmm", product<1>},
      {"aten::baddbmm", product<1>},
      {"aten::einsum", einsum},
      {"aten::scaled_dot_product_attention", attention},
      {"aten::_native_multi_head_attention", fused_attention},
      {"aten::_transformer_encoder_layer_fwd", fused_encoder_layer}};
  return kCounters;
}

// Adds up by module and kind, in the order of first sight.
class Layers {
 public:
  LayerCost& at(const std::string& name, const std::string& operation) {
    const auto [place, fresh] = index_.try_emplace({name, operation}, costs_.layers.size());
    if (fresh) costs_.layers.push_back({name, operation, 0, 0});
    return costs_.layers[place->second];
  }

  ModelCosts finish() {
    for (const LayerCost& layer : costs_.layers) {
      costs_.parameters += layer.parameters;
      costs_.operations += layer.operations;
    }
    return std::move(costs_);
  }

 private:
  ModelCosts costs_;
  std::map<std::pair<std::string, std::string>, std::size_t> index_;
};

std::string owner_of(const std::string& parameter) {
  const std::size_t dot = parameter.find_last_of('.');
  return dot == std::string::npos ? "" : parameter.substr(0, dot);
}

// By the first step that reads them; one of two names for the same memory.
std::multimap<int, const Parameter*> parameters_by_step(const Program& program) {
  std::multimap<int, const Parameter*> by_step;
  std::set<const void*> seen;
  for (const Parameter& parameter : program.parameters()) {
    const bool counts = parameter.learned && parameter.first_step >= 0 &&
                        seen.insert(parameter.value.const_data_ptr()).second;
    if (counts) by_step.emplace(parameter.first_step, &parameter);
  }
  return by_step;
}

}  // namespace

ModelCosts model_costs(const Program& program, const at::Tensor& input) {
  Layers layers;
  const auto parameters = parameters_by_step(program);
  Slots slots = program.start(input);
  const std::vector<Step>& steps = program.steps();
  for (int i = 0; i < static_cast<int>(steps.size()); ++i) {
    const Step& step = steps[static_cast<std::size_t>(i)];
    const auto [first, last] = parameters.equal_range(i);
    for (auto read = first; read != last; ++read) {
      const Parameter& parameter = *read->second;
      layers.at(owner_of(parameter.name), parameter.operation).parameters +=
          parameter.value.numel();
    }
    Call call;
    for (const int slot : step.inputs) call.in.push_back(slots[static_cast<std::size_t>(slot)]);
    program.run(slots, i, i + 1);
    const bool depends = std::any_of(step.outputs.begin(), step.outputs.end(),
                                     [&](int slot) { return program.depends_on_image(slot); });
    const std::int64_t images = depends ? input.size(0) : 1;
    const auto counter = counters().find(step.function);
    if (counter == counters().end()) continue;
    const c10::IValue& result = slots[static_cast<std::size_t>(step.outputs.at(0))];
    if (!result.isTensor()) continue;  // nothing reads it
    call.out = result.toTensor();
    const std::int64_t operations = counter->second(call) / images;
    if (operations > 0) layers.at(step.path, step.operation).operations += operations;
  }
  return layers.finish();
}

ModelCosts model_costs(const Model& model) {
  const auto [channels, height, width] = model.input();
  return model_costs(
      model.program(),
      at::zeros({model.batch(), channels, height, width}).to(c10::Device(model.device())));
}

LayerCost costs_below(const ModelCosts& costs, std::string_view path) {
  LayerCost sum{std::string(path), "", 0, 0};
  for (const LayerCost& layer : costs.layers) {
    const std::string_view name = layer.name;
    const bool below =
        path.empty() || name == path || (name.starts_with(path) && name[path.size()] == '.');
    if (!below) continue;
    sum.parameters += layer.parameters;
    sum.operations += layer.operations;
  }
  return sum;
}

}  // namespace bitfall
