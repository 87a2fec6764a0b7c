#include "exported_graph.h"

#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "json_file.h"

namespace bitfall {
namespace {

using Json = nlohmann::json;

double number_of(const Json& json) {
  if (!json.is_string()) return json.get<double>();
  const auto& text = json.get_ref<const std::string&>();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  throw std::invalid_argument("'" + text + "' is not a number");
}

// Of "L__self__stem,stem,torch.nn.modules.conv.Conv2d", behind that of the modules around it.
std::string module_path(const std::string& stack, const std::set<std::string>& modules) {
  int depth = 0;
  std::size_t end = stack.size();  // of the path: the comma before the class
  while (end > 0) {
    const char c = stack[--end];
    if (c == ')' || c == ']') ++depth;
    if (c == '(' || c == '[') --depth;
    if (c == ',' && depth <= 0) break;
  }
  const std::string_view before = std::string_view(stack).substr(0, end);
  // A known path, the longest: names may hold commas and semicolons.
  const std::string* known = nullptr;
  for (const std::string& path : modules) {
    const bool here = before.ends_with(path) && before.size() > path.size() &&
                      before[before.size() - path.size() - 1] == ',';
    if (here && (known == nullptr || path.size() > known->size())) known = &path;
  }
  if (known != nullptr) return *known;
  const auto comma = before.rfind(',');
  std::string path(comma == before.npos ? "" : before.substr(comma + 1));
  if (path == "_empty_nn_module_stack_from_metadata_hook") return "";
  return path;
}

// Reads arguments, and what lies within them down to a depth that no exporter writes.
class GraphReader {
 public:
  explicit GraphReader(const std::set<std::string>& modules) : modules_(modules) {}

  ExportedGraph graph(const Json& json) {
    ExportedGraph found;
    for (const Json& input : json.at("inputs")) found.inputs.push_back(argument(input));
    for (const Json& one : json.at("nodes")) found.nodes.push_back(node(one));
    for (const Json& output : json.at("outputs")) found.outputs.push_back(argument(output));
    return found;
  }

  ExportedArgument argument(const Json& json) {
    const Level level(depth_);
    if (!json.is_object() || json.size() != 1) {
      throw std::invalid_argument("an argument is not an object of one entry");
    }
    const std::string& kind = json.begin().key();
    const Json& value = json.begin().value();
    const auto& readers = kinds();
    const auto reader = readers.find(kind);
    if (reader == readers.end()) return {ExportedArgument::Unknown{kind}};
    return reader->second(*this, value);
  }

 private:
  using Read = std::function<ExportedArgument(GraphReader&, const Json&)>;

  /// Counts arguments that lie in each other: a graph within a graph is one, too.
  class Level {
   public:
    explicit Level(int& depth) : depth_(depth) {
      constexpr int kDeepest = 36;
      if (depth_ >= kDeepest) {
        throw std::invalid_argument("its graphs and lists lie too deep in each other");
      }
      ++depth_;
    }
    ~Level() { --depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    int& depth_;
  };

  static ExportedArgument named(GraphReader&, const Json& json) {
    return {ExportedArgument::Name{json.at("name").get<std::string>()}};
  }

  // {"as_name": "sym_size_int"} or {"as_int": 3}, as a list of sizes has them side by side.
  static ExportedArgument named_or_constant(GraphReader& reader, const Json& json) {
    if (json.contains("as_name")) {
      return {ExportedArgument::Name{json.at("as_name").get<std::string>()}};
    }
    return reader.argument(json);
  }

  static ExportedArgument within(GraphReader& reader, const Json& json) {
    return reader.argument(json);
  }

  static Read list_of(Read one) {
    return [one = std::move(one)](GraphReader& reader, const Json& json) {
      ExportedArgument::List list;
      if (!json.is_array()) throw std::invalid_argument("a list is not an array");
      for (const Json& item : json) list.push_back(one(reader, item));
      return ExportedArgument{std::move(list)};
    };
  }

  static const std::map<std::string, Read>& kinds() {
    static const Read integer = [](GraphReader&, const Json& j) {
      return ExportedArgument{whole_number(j)};
    };
    static const Read real = [](GraphReader&, const Json& j) {
      return ExportedArgument{number_of(j)};
    };
    static const Read truth = [](GraphReader&, const Json& j) {
      return ExportedArgument{j.get<bool>()};
    };
    static const Read text = [](GraphReader&, const Json& j) {
      return ExportedArgument{j.get<std::string>()};
    };
    static const std::map<std::string, Read> kKinds = {
        {"as_none", [](GraphReader&, const Json&) { return ExportedArgument{}; }},
        {"as_tensor", named},
        {"as_tensors", list_of(named)},
        {"as_nested_tensors", list_of(list_of(named))},
        {"as_optional_tensor", within},
        {"as_optional_tensors", list_of(within)},
        {"as_int", integer},
        {"as_ints", list_of(integer)},
        {"as_int_lists", list_of(list_of(integer))},
        {"as_float", real},
        {"as_floats", list_of(real)},
        {"as_float_lists", list_of(list_of(real))},
        {"as_bool", truth},
        {"as_bools", list_of(truth)},
        {"as_string", text},
        {"as_strings", list_of(text)},
        {"as_complex",
         [](GraphReader&, const Json& j) {
           return ExportedArgument{
               std::complex<double>(number_of(j.at("real")), number_of(j.at("imag")))};
         }},
        {"as_sym_int", named_or_constant},
        {"as_sym_ints", list_of(named_or_constant)},
        {"as_sym_float", named_or_constant},
        {"as_sym_floats", list_of(named_or_constant)},
        {"as_sym_bool", named_or_constant},
        {"as_sym_bools", list_of(named_or_constant)},
        {"as_scalar_type",
         [](GraphReader&, const Json& j) {
           return ExportedArgument{ExportedArgument::NumberType{whole_number(j)}};
         }},
        {"as_memory_format",
         [](GraphReader&, const Json& j) {
           return ExportedArgument{ExportedArgument::MemoryFormat{whole_number(j)}};
         }},
        {"as_layout",
         [](GraphReader&, const Json& j) {
           return ExportedArgument{ExportedArgument::Layout{whole_number(j)}};
         }},
        {"as_device",
         [](GraphReader&, const Json&) { return ExportedArgument{ExportedArgument::Device{}}; }},
        {"as_graph", [](GraphReader& reader, const Json& j) {
           return ExportedArgument{
               std::make_shared<const ExportedGraph>(reader.graph(j.at("graph")))};
         }}};
    return kKinds;
  }

  ExportedNode node(const Json& json) {
    ExportedNode found;
    found.target = json.at("target").get<std::string>();
    for (const Json& operand : json.at("inputs")) {
      found.operands.push_back(
          {operand.at("name").get<std::string>(), argument(operand.at("arg"))});
    }
    for (const Json& result : json.at("outputs")) found.results.push_back(argument(result));
    const Json& metadata = json.at("metadata");
    if (metadata.contains("nn_module_stack")) {
      found.path = module_path(metadata.at("nn_module_stack").get<std::string>(), modules_);
    }
    return found;
  }

  const std::set<std::string>& modules_;
  int depth_ = 0;
};

}  // namespace

ExportedGraph parse_exported_graph(const Json& json, const std::set<std::string>& modules) {
  return GraphReader(modules).graph(json);
}

ExportedArgument parse_exported_argument(const Json& json, const std::set<std::string>& modules) {
  return GraphReader(modules).argument(json);
}

}  // namespace bitfall
