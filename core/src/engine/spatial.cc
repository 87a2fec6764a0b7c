#include "spatial.h"

#include <ATen/ATen.h>

#include <limits>
#include <string>
#include <unordered_set>

namespace bitfall {
namespace {

using Pair = std::array<std::int64_t, 2>;

// The operator's name without its library and the mark of an in-place variant.
std::string plain_name(const std::string& function) {
  if (function.rfind("aten::", 0) != 0) return "";
  std::string name = function.substr(6);
  if (name.size() > 1 && name.back() == '_') name.pop_back();
  return name;
}

bool is_unary(const std::string& name) {
  static const std::unordered_set<std::string> kNames = {"relu",       "relu6",
                                                         "hardtanh",   "clamp",
                                                         "clamp_min",  "clamp_max",
                                                         "sigmoid",    "silu",
                                                         "hardswish",  "hardsigmoid",
                                                         "gelu",       "tanh",
                                                         "elu",        "leaky_relu",
                                                         "selu",       "celu",
                                                         "mish",       "softplus",
                                                         "dropout",    "softsign",
                                                         "threshold",  "feature_dropout",
                                                         "neg",        "abs",
                                                         "square",     "exp",
                                                         "sqrt",       "hardshrink",
                                                         "pow",        "detach",
                                                         "alias",      "logsigmoid",
                                                         "contiguous", "log_sigmoid",
                                                         "erf",        "rsqrt",
                                                         "reciprocal"};
  return kNames.count(name) > 0;
}

bool is_binary(const std::string& name) {
  static const std::unordered_set<std::string> kNames = {"add", "sub",     "mul",
                                                         "div", "maximum", "minimum"};
  return kNames.count(name) > 0;
}

class Classifier {
 public:
  explicit Classifier(const Model& model)
      : model_(model),
        program_(model.program()),
        fixed_(program_.start(
            at::zeros({model.batch(), model.input()[0], model.input()[1], model.input()[2]}))) {}

  std::vector<std::optional<Spatial>> all() {
    std::vector<std::optional<Spatial>> found;
    for (const Step& step : program_.steps()) found.push_back(judge(step));
    // A list is of use where the step that takes it is.
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (!found[i] || !found[i]->list) continue;
      const int made = program_.lifetimes()[slot(program_.steps()[i].inputs[0])].made;
      Spatial collects;
      collects.collects = true;
      collects.maps = found[i]->maps;
      found[static_cast<std::size_t>(made)] = collects;
    }
    return found;
  }

 private:
  static std::size_t slot(int index) { return static_cast<std::size_t>(index); }

  bool is_fixed(int index) const {
    return program_.lifetimes()[slot(index)].made < 0 && index != program_.input_slot();
  }
  const c10::IValue& value(int index) const { return fixed_[slot(index)]; }

  // A computed value that lies image by image: a map, if it has four dimensions.
  bool may_be_map(int index) const { return !is_fixed(index) && model_.images(index).plain(); }

  bool fixed_from(const Step& step, std::size_t first) const {
    for (std::size_t i = first; i < step.inputs.size(); ++i) {
      if (!is_fixed(step.inputs[i])) return false;
    }
    return true;
  }

  std::optional<Pair> pair(const Step& step, std::size_t operand) const {
    if (operand >= step.inputs.size()) return std::nullopt;
    const c10::IValue& given = value(step.inputs[operand]);
    if (given.isInt()) return Pair{given.toInt(), given.toInt()};
    if (!given.isIntList()) return std::nullopt;
    const auto list = given.toIntVector();
    if (list.size() == 1) return Pair{list[0], list[0]};
    if (list.size() == 2) return Pair{list[0], list[1]};
    return std::nullopt;
  }

  bool flag(const Step& step, std::size_t operand, bool missing) const {
    if (operand >= step.inputs.size() || !value(step.inputs[operand]).isBool()) return missing;
    return value(step.inputs[operand]).toBool();
  }

  static c10::IValue no_padding() { return c10::List<std::int64_t>({0, 0}); }

  std::optional<Spatial> judge(const Step& step) const {
    const std::string name = plain_name(step.function);
    if (name.empty() || step.output < 0 || step.inputs.empty()) return std::nullopt;
    if (step.in_place && step.outputs.size() > 1) return std::nullopt;  // see copy_on_write.h
    if (name == "cat") return concatenation(step);
    if (is_binary(name)) return binary(step);
    if (!may_be_map(step.inputs[0]) || !fixed_from(step, 1)) return std::nullopt;
    Spatial spatial;
    spatial.maps = {step.inputs[0]};
    if (name == "conv2d") return convolution(step, spatial, 6);
    if (name == "_convolution" || name == "convolution") {
      if (flag(step, 6, true)) return std::nullopt;  // transposed
      return convolution(step, spatial, 8);
    }
    if (name == "max_pool2d") return max_pool(step, spatial);
    if (name == "avg_pool2d") return average_pool(step, spatial);
    if (name == "slice") return slice(step, spatial);
    if (name == "pad" || name == "constant_pad_nd") return pad(step, spatial);
    if (name == "batch_norm") {
      if (flag(step, 5, true)) return std::nullopt;  // training
      return spatial;
    }
    if (name == "dropout" || name == "feature_dropout") {
      if (flag(step, 2, true)) return std::nullopt;
      return spatial;
    }
    if (!is_unary(name)) return std::nullopt;
    for (std::size_t i = 1; i < step.inputs.size(); ++i) {
      if (value(step.inputs[i]).isTensor()) return std::nullopt;
    }
    return spatial;
  }

  std::optional<Spatial> convolution(const Step& step, Spatial spatial,
                                     std::size_t groups_operand) const {
    const auto stride = pair(step, 3), padding = pair(step, 4), dilation = pair(step, 5);
    const c10::IValue& weight = value(step.inputs[1]);
    if (!stride || !padding || !dilation || !weight.isTensor() || weight.toTensor().dim() != 4) {
      return std::nullopt;
    }
    spatial.kernel = {weight.toTensor().size(2), weight.toTensor().size(3)};
    spatial.stride = *stride;
    spatial.padding = *padding;
    spatial.dilation = *dilation;
    spatial.convolution = true;
    if (groups_operand < step.inputs.size() && value(step.inputs[groups_operand]).isInt()) {
      spatial.groups = value(step.inputs[groups_operand]).toInt();
    }
    spatial.pointwise = spatial.kernel == Spatial::kOne && spatial.padding == Spatial::kNone;
    spatial.on_windows = {{4, no_padding()}};
    return spatial;
  }

  std::optional<Spatial> pool(const Step& step, Spatial spatial,
                              std::size_t padding_operand) const {
    const auto kernel = pair(step, 1), padding = pair(step, padding_operand);
    if (!kernel || !padding) return std::nullopt;
    const auto stride = pair(step, 2);  // an empty list stands for the kernel
    spatial.kernel = *kernel;
    spatial.stride = stride ? *stride : *kernel;
    spatial.padding = *padding;
    spatial.on_windows = {{padding_operand, no_padding()}};
    return spatial;
  }

  std::optional<Spatial> max_pool(const Step& step, const Spatial& start) const {
    auto spatial = pool(step, start, 3);
    const auto dilation = pair(step, 4);
    if (!spatial || !dilation) return std::nullopt;
    spatial->dilation = *dilation;
    spatial->fill = -std::numeric_limits<float>::infinity();
    return spatial;
  }

  std::optional<Spatial> average_pool(const Step& step, const Spatial& start) const {
    auto spatial = pool(step, start, 3);
    const bool ceil = flag(step, 4, true), counts_border = flag(step, 5, false);
    // Elsewhere the divisor depends on the place.
    if (!spatial || ceil || !(counts_border || spatial->padding == Spatial::kNone)) {
      return std::nullopt;
    }
    return spatial;
  }

  std::optional<Spatial> slice(const Step& step, Spatial spatial) const {
    const auto number = [&](std::size_t operand, std::int64_t missing) {
      const c10::IValue& given = value(step.inputs[operand]);
      return given.isInt() ? given.toInt() : missing;
    };
    if (step.inputs.size() < 5) return std::nullopt;
    const std::int64_t endless = std::numeric_limits<std::int64_t>::max();
    std::int64_t dim = number(1, 0);
    const std::int64_t start = number(2, 0), end = number(3, endless), stride = number(4, 1);
    if (dim < 0) dim += 4;
    if (dim == 0) {
      return start == 0 && end == endless && stride == 1 ? std::optional(spatial) : std::nullopt;
    }
    if (dim == 1) return spatial;  // channels
    if (start < 0 || stride < 1) return std::nullopt;
    const auto axis = static_cast<std::size_t>(dim - 2);
    spatial.stride[axis] = stride;
    spatial.padding[axis] = -start;
    spatial.on_windows = {{2, std::int64_t{0}}, {3, endless}};
    return spatial;
  }

  std::optional<Spatial> pad(const Step& step, Spatial spatial) const {
    const bool constant_pad = plain_name(step.function) == "constant_pad_nd";
    const std::size_t fill_operand = constant_pad ? 2 : 3;
    if (!constant_pad && (step.inputs.size() < 4 || !value(step.inputs[2]).isString() ||
                          value(step.inputs[2]).toStringRef() != "constant")) {
      return std::nullopt;
    }
    if (!value(step.inputs[1]).isIntList()) return std::nullopt;
    auto sides = value(step.inputs[1]).toIntVector();  // the width's two sides, the height's, ...
    if (sides.size() % 2 != 0 || sides.size() > 6) return std::nullopt;
    sides.resize(std::max<std::size_t>(sides.size(), 4));
    for (std::size_t i = 0; i < 4; ++i) {
      if (sides[i] < 0) return std::nullopt;
    }
    spatial.padding = {sides[2], sides[0]};
    const c10::IValue& fill = value(step.inputs[fill_operand]);
    spatial.fill = fill.isDouble() ? static_cast<float>(fill.toDouble())
                   : fill.isInt()  ? static_cast<float>(fill.toInt())
                                   : 0.0F;
    std::fill(sides.begin(), sides.begin() + 4, 0);
    spatial.on_windows = {{1, c10::IValue(sides)}};
    return spatial;
  }

  std::optional<Spatial> binary(const Step& step) const {
    Spatial spatial;
    for (const int operand : step.inputs) {
      if (!is_fixed(operand)) {
        if (!may_be_map(operand)) return std::nullopt;
        spatial.maps.push_back(operand);
      } else if (value(operand).isTensor()) {
        const at::Tensor& tensor = value(operand).toTensor();
        const bool everywhere = tensor.numel() == 1 ||
                                (tensor.dim() >= 3 && tensor.size(-1) == 1 && tensor.size(-2) == 1);
        if (!everywhere) return std::nullopt;
      }
    }
    return spatial.maps.empty() ? std::nullopt : std::optional(spatial);
  }

  std::optional<Spatial> concatenation(const Step& step) const {
    const int made = program_.lifetimes()[slot(step.inputs[0])].made;
    if (made < 0 || !fixed_from(step, 1) || !value(step.inputs[1]).isInt()) return std::nullopt;
    const Step& list = program_.steps()[static_cast<std::size_t>(made)];
    const std::int64_t dim = value(step.inputs[1]).toInt();
    // Nothing else may see the list, or come between.
    const auto index = static_cast<int>(&step - program_.steps().data());
    if (list.function != "prim::ListConstruct" || (dim != 1 && dim != -3) || made + 1 != index ||
        program_.lifetimes()[slot(step.inputs[0])].last != index) {
      return std::nullopt;
    }
    Spatial spatial;
    spatial.list = true;
    for (const int operand : list.inputs) {
      if (!may_be_map(operand)) return std::nullopt;
      spatial.maps.push_back(operand);
    }
    return spatial;
  }

  const Model& model_;
  const Program& program_;
  Slots fixed_;
};

}  // namespace

std::vector<std::optional<Spatial>> spatial_steps(const Model& model) {
  return Classifier(model).all();
}

}  // namespace bitfall
