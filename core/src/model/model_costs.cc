#include "model_costs.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <unordered_map>

#include "instruction.h"
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

// Layers of cells: each of their matrices is multiplied with one vector per token and image.
// `params`, where the list of them stands.
template <std::size_t Params>
std::int64_t recurrent(const Call& call) {
  const at::Tensor tokens = call.tensor(0);
  std::int64_t matrices = 0;
  for (const at::Tensor& parameter : call.in.at(Params).toTensorVector()) {
    if (parameter.dim() == 2) matrices += parameter.numel();
  }
  return matrices * (tokens.numel() / tokens.size(-1));
}

std::int64_t cell(const Call& call) {
  return (call.tensor(2).numel() + call.tensor(3).numel()) *
         (call.tensor(0).numel() / call.tensor(0).size(-1));
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
      {"aten::lstm", recurrent<2>},
      {"aten::gru", recurrent<2>},
      {"aten::rnn_tanh", recurrent<2>},
      {"aten::rnn_relu", recurrent<2>},
      {"aten::lstm_cell", cell},
      {"aten::gru_cell", cell},
      {"aten::rnn_tanh_cell", cell},
      {"aten::rnn_relu_cell", cell},
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

// Multiply-accumulates of a call for all images; 0 of what is not counted.
std::int64_t operations_of(const Instruction& instruction, const std::vector<c10::IValue>& operands,
                           const Slots& slots) {
  const auto counter = counters().find(instruction.function);
  if (counter == counters().end()) return 0;
  const c10::IValue& result = slots[static_cast<std::size_t>(instruction.out.at(0))];
  if (!result.isTensor() || !result.toTensor().defined()) return 0;  // nothing reads it
  return counter->second({operands, result.toTensor()});
}

// Calls back with every call that multiplies: its step, and multiply-accumulates of one image.
void count_operations(
    const Program& program, const at::Tensor& input,
    const std::function<void(int step, const Instruction&, std::int64_t operations)>& counted) {
  Slots slots = program.start(input);
  int step = 0;
  std::int64_t images = 1;
  const CallObserver observer = [&](const Instruction& call, const auto& operands,
                                    const Slots& after) {
    const std::int64_t operations = operations_of(call, operands, after) / images;
    if (operations > 0) counted(step, call, operations);
  };
  for (; step < static_cast<int>(program.steps().size()); ++step) {
    const auto& outputs = program.steps()[static_cast<std::size_t>(step)].outputs;
    const bool depends = std::any_of(outputs.begin(), outputs.end(),
                                     [&](int slot) { return program.depends_on_image(slot); });
    images = depends ? input.size(0) : 1;
    program.observe(slots, step, observer);
  }
}

}  // namespace

ModelCosts model_costs(const Program& program, const at::Tensor& input) {
  Layers layers;
  const auto parameters = parameters_by_step(program);
  int listed = 0;  // steps whose parameters are
  const auto list_parameters = [&](int until) {
    for (; listed < until; ++listed) {
      const auto [first, last] = parameters.equal_range(listed);
      for (auto read = first; read != last; ++read) {
        const Parameter& parameter = *read->second;
        layers.at(owner_of(parameter.name), parameter.operation).parameters +=
            parameter.value.numel();
      }
    }
  };
  count_operations(program, input,
                   [&](int step, const Instruction& call, std::int64_t operations) {
                     list_parameters(step + 1);
                     layers.at(call.path, operation_kind(call.function)).operations += operations;
                   });
  list_parameters(static_cast<int>(program.steps().size()));
  return layers.finish();
}

Coverage coverage(const Model& model) {
  const Program& program = model.program();
  std::set<int> hit;  // steps whose result can be
  Coverage covered;
  covered.parameters = program.learned_numbers();
  std::set<const void*> seen;
  for (std::size_t i = 0; i < model.sites().size(); ++i) {
    const Site& site = model.sites()[i];
    const auto index = static_cast<std::int32_t>(i);
    if (!site.refusal.empty() || site.target == Target::kInput) continue;
    if (site.target == Target::kActivation) {
      hit.insert(model.first_step(index) - 1);
    } else if (seen.insert(model.parameter(index).const_data_ptr()).second) {
      for (const Parameter& parameter : program.parameters()) {
        if (parameter.name == site.name && parameter.learned) {
          covered.covered_parameters += parameter.value.numel();
        }
      }
    }
  }
  std::map<std::pair<std::string, std::string>, std::int64_t> missed;
  const auto [channels, height, width] = model.input();
  const at::Tensor input =
      at::zeros({model.batch(), channels, height, width}).to(c10::Device(model.device()));
  count_operations(program, input,
                   [&](int step, const Instruction& call, std::int64_t operations) {
                     covered.operations += operations;
                     if (hit.count(step) > 0) {
                       covered.covered_operations += operations;
                     } else {
                       missed[{call.path, call.function}] += operations;
                     }
                   });
  for (const auto& [part, operations] : missed) {
    covered.missed.push_back({part.first, part.second, 0, operations});
  }
  std::stable_sort(covered.missed.begin(), covered.missed.end(),
                   [](const LayerCost& a, const LayerCost& b) { return a.operations > b.operations; });
  return covered;
}

std::string missed_text(const Coverage& coverage) {
  constexpr std::size_t kMost = 3;
  std::string text;
  for (std::size_t i = 0; i < coverage.missed.size() && i < kMost; ++i) {
    const LayerCost& part = coverage.missed[i];
    const auto colons = part.operation.find("::");
    const std::string name = colons == std::string::npos ? part.operation
                                                         : part.operation.substr(colons + 2);
    char share[32];
    std::snprintf(share, sizeof share, " %.1f %%",
                  100.0 * static_cast<double>(part.operations) /
                      static_cast<double>(coverage.operations));
    text += (text.empty() ? "" : ", ") + (part.name.empty() ? name : part.name + " (" + name + ")") +
            share;
  }
  if (coverage.missed.size() > kMost) {
    text += ", " + std::to_string(coverage.missed.size() - kMost) + " more";
  }
  return text;
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
