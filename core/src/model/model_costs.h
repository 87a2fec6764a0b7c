// What a model costs: its parameters, and the multiply-accumulates of one image.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace at {
class Tensor;
}

namespace bitfall {

class Model;
class Program;

/// What the operations of one kind cost in one module.
struct LayerCost {
  std::string name;       // the module's path: "layer1.0.conv2"; empty for the model's own forward
  std::string operation;  // kind: "conv", "linear", "batch_norm", ...
  std::int64_t parameters = 0;
  std::int64_t operations = 0;
};

/// `parameters` counts the numbers of the module's parameters that the answer is computed from:
/// memory of two names once, buffers (running statistics) never, parts that nothing reads never.
/// `operations` counts multiply-accumulates of one image: of convolutions, linear layers, matrix
/// products, attention (the two products of scaled_dot_product_attention; the fused forms of
/// torch.nn.MultiheadAttention and TransformerEncoderLayer with their linear layers), and einsum of
/// two operands without an ellipsis. Biases, normalisation, activation functions, softmax, pooling
/// and element-wise arithmetic are not counted, nor what runs inside a conditional or loop that
/// reads values, nor parameters that a module keeps in a list (torch.nn.LSTM). What does not depend
/// on the image (the position network of Swin-V2) is counted as often as one forward computes it.
struct ModelCosts {
  std::int64_t parameters = 0;
  std::int64_t operations = 0;
  std::vector<LayerCost> layers;  // those that have either, in network order
};

/// Measures by one run. `input`: [batch, C, H, W] of the shape that the program was specialised to;
/// its values do not matter. Throws what Program::run throws.
ModelCosts model_costs(const Program& program, const at::Tensor& input);

/// The same of an open model.
ModelCosts model_costs(const Model& model);

/// What part of a network lies in sites that can be hit.
struct Coverage {
  std::int64_t operations = 0, covered_operations = 0;  // multiply-accumulates of one image
  std::int64_t parameters = 0, covered_parameters = 0;
  std::vector<LayerCost> missed;  // `operation` is the operator; the largest first
};
Coverage coverage(const Model& model);

/// "encoder.0 (_transformer_encoder_layer_fwd) 75.0 %, lstm 20.1 %, 2 more"; empty where nothing is
/// missed.
std::string missed_text(const Coverage& coverage);

/// The sum of the module at `path` and all modules below it, under the name `path` and with the
/// operation empty; an empty path sums everything.
LayerCost costs_below(const ModelCosts& costs, std::string_view path);

}  // namespace bitfall
