// The graph of a torch.export archive: calls of operators, one after the other, on values that have names.
//
//   {"target": "torch.ops.aten.conv2d.default",                  node: target
//    "inputs": [{"name": "input", "arg": {"as_tensor": {"name": "x"}}}, ...],    operands
//    "outputs": [{"as_tensor": {"name": "conv2d"}}],                   results
//    "metadata": {"nn_module_stack": "...;L__self__stem,stem,torch.nn.modules.conv.Conv2d"}}  path "stem"
//
// As torch/_export/serde/schema.py writes it. Numbers of types, layouts and memory formats are the archive's own.
#pragma once

#include <complex>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <variant>
#include <vector>

namespace bitfall {

struct ExportedGraph;

/// What stands for an operand or a result: a value of the graph by its name, a constant, a list of
/// either, or a graph within the graph.
struct ExportedArgument {
  struct None {};
  struct Name {
    std::string text;
  };
  struct NumberType {
    std::int64_t code = 0;  // 7 is float32
  };
  struct MemoryFormat {
    std::int64_t code = 0;  // 1 is contiguous
  };
  struct Layout {
    std::int64_t code = 0;  // 7 is strided
  };
  struct Device {};  // any: operands follow the network's own device
  struct Unknown {
    std::string kind;  // "as_custom_obj"
  };
  using List = std::vector<ExportedArgument>;

  std::variant<None, Name, bool, std::int64_t, double, std::complex<double>, std::string,
               NumberType, MemoryFormat, Layout, Device, List, std::shared_ptr<const ExportedGraph>,
               Unknown>
      value;

  template <typename T>
  const T* as() const {
    return std::get_if<T>(&value);
  }
  /// The value of the graph that it names; null if it is something else.
  const std::string* name() const {
    const Name* named = as<Name>();
    return named ? &named->text : nullptr;
  }
};

struct ExportedOperand {
  std::string name;  // of the operator's argument; empty where operators have none
  ExportedArgument value;
};

struct ExportedNode {
  std::string target;  // "torch.ops.aten.conv2d.default", "_operator.mul"
  std::vector<ExportedOperand> operands;
  std::vector<ExportedArgument> results;
  std::string path;  // of the module that runs it: "layer1.0.conv2"; empty for the model's own
};

struct ExportedGraph {
  std::vector<ExportedArgument> inputs;
  std::vector<ExportedNode> nodes;
  std::vector<ExportedArgument> outputs;
};

/// `modules`: the paths of all modules, as far as known: names may hold what separates them.
/// Throws nlohmann's exceptions or std::invalid_argument where `json` is nothing of the kind.
ExportedGraph parse_exported_graph(const nlohmann::json& json,
                                   const std::set<std::string>& modules);
ExportedArgument parse_exported_argument(const nlohmann::json& json,
                                         const std::set<std::string>& modules);

}  // namespace bitfall
