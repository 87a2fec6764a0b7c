#include "exported_program.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <utility>

#include "error.h"
#include "json_file.h"
#include "zip_archive.h"

namespace bitfall {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMajor = 8;  // of the schema
constexpr const char* kFormat = "/archive_format";

std::invalid_argument refusal(const std::string& problem) { return std::invalid_argument(problem); }

constexpr const char* kSaveAgain =
    "\n  save it again with torch 2.11 or later: torch.export.save(torch.export.load(\"OLD.pt2\"), "
    "\"NEW.pt2\")";

// "resnet18" of "resnet18/archive_format"; empty where the archive is not of torch.export.
std::string root_of(const ZipArchive& archive) {
  const std::string format = archive.find(kFormat);
  if (format.empty() || archive.read(format).substr(0, 3) != "pt2") return "";
  return format.substr(0, format.size() - std::string_view(kFormat).size());
}

bool is_old(const ZipArchive& archive) {  // as torch 2.7 and older wrote them
  return archive.has("serialized_exported_program.json");
}

bool is_compiled(const ZipArchive& archive) {
  return !archive.names_with("data/aotinductor/").empty();
}

// The record of the network's graph: "model" as torch.export.load takes it, or the only one.
std::string model_record(const ZipArchive& archive, const std::string& root) {
  const std::string folder = root + "/models/";
  std::vector<std::string> found;
  for (const std::string& name : archive.names_with("/models/")) {
    if (name.starts_with(folder) && name.ends_with(".json")) found.push_back(name);
  }
  if (std::count(found.begin(), found.end(), folder + "model.json") > 0) {
    return folder + "model.json";
  }
  if (found.size() == 1) return found[0];
  if (!found.empty()) {
    throw refusal(
        "holds " + std::to_string(found.size()) +
        " networks and none of the name \"model\"; save the one that is to be read alone");
  }
  if (is_compiled(archive)) {
    throw refusal(
        "is a package of AOTInductor: compiled code, which has no steps that a fault could "
        "hit\n  save the network ahead of compiling it: torch.export.save(program, "
        "\"NAME.pt2\")");
  }
  throw refusal("is a torch.export archive without a network");
}

Json parse(std::string_view text, const std::string& record) {
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    throw refusal("its '" + record + "' is not JSON: " + error.what());
  }
}

// By the archive's own number; 0 for what it does not have.
std::int64_t bytes_of(std::int64_t type) {
  switch (type) {
    case 1:   // uint8
    case 2:   // int8
    case 12:  // bool
    case 29:  // float8_e4m3fn
    case 30:  // float8_e5m2
    case 31:  // float8_e4m3fnuz
    case 32:  // float8_e5m2fnuz
    case 33:  // float8_e8m0fnu
      return 1;
    case 3:   // int16
    case 6:   // float16
    case 13:  // bfloat16
    case 28:  // uint16
      return 2;
    case 4:   // int32
    case 7:   // float32
    case 9:   // complex of float16
    case 34:  // uint32
      return 4;
    case 5:   // int64
    case 8:   // float64
    case 10:  // complex of float32
    case 35:  // uint64
      return 8;
    case 11:  // complex of float64
      return 16;
    default:
      return 0;
  }
}

std::int64_t size_of(const Json& json) {
  if (!json.contains("as_int")) throw refusal("the size of a stored tensor is no number");
  return whole_number(json.at("as_int"));
}

// Throws where an element would lie outside `bytes`.
void check_extent(const ExportedTensor& tensor, std::size_t bytes) {
  const auto beyond = [&] {
    return refusal("its tensor '" + tensor.name + "' does not lie within its storage '" +
                   tensor.storage + "' of " + std::to_string(bytes) +
                   " bytes; the file is damaged");
  };
  const std::int64_t each = bytes_of(tensor.type);
  if (each == 0) {
    throw refusal("its tensor '" + tensor.name + "' has numbers of a kind (" +
                  std::to_string(tensor.type) + ") that is not known");
  }
  constexpr std::size_t kMostDimensions = 64;  // LibTorch's own limit
  if (tensor.sizes.size() != tensor.strides.size() || tensor.sizes.size() > kMostDimensions ||
      tensor.offset < 0) {
    throw beyond();
  }
  std::int64_t count = 1, last = tensor.offset, end = 0;
  for (std::size_t d = 0; d < tensor.sizes.size(); ++d) {
    const std::int64_t size = tensor.sizes[d], stride = tensor.strides[d];
    std::int64_t step = 0;
    if (size < 0 || stride < 0 || __builtin_mul_overflow(count, size, &count)) throw beyond();
    if (size == 0) continue;
    if (__builtin_mul_overflow(size - 1, stride, &step) ||
        __builtin_add_overflow(last, step, &last)) {
      throw beyond();
    }
  }
  if (__builtin_mul_overflow(count, each, &end)) throw beyond();
  if (count == 0) return;
  if (last == std::numeric_limits<std::int64_t>::max() ||
      __builtin_mul_overflow(last + 1, each, &end) || static_cast<std::uint64_t>(end) > bytes) {
    throw beyond();
  }
}

// "s77" of "Symbol('s77', positive=True, integer=True)"; empty for an expression of several.
std::string symbol_of(const std::string& expression) {
  const std::string opening = "Symbol('";
  if (!expression.starts_with(opening)) {
    const bool plain = !expression.empty() &&
                       std::all_of(expression.begin(), expression.end(),
                                   [](unsigned char c) { return std::isalnum(c) || c == '_'; });
    return plain ? expression : "";
  }
  const auto end = expression.find('\'', opening.size());
  if (end == expression.npos || expression.find('(', end) != expression.npos) return "";
  return expression.substr(opening.size(), end - opening.size());
}

// Reads one archive.
class ProgramReader {
 public:
  ProgramReader(const ZipArchive& archive, std::string root)
      : archive_(archive), root_(std::move(root)), record_(model_record(archive, root_)) {
    check_byte_order();
    json_ = parse(archive.read(record_), record_);
  }

  ExportedProgram run() {
    check_version();
    const Json& module = json_.at("graph_module");
    std::set<std::string> modules;
    for (const Json& entry : module.at("module_call_graph")) {
      modules.insert(entry.at("fqn").get<std::string>());
    }
    program_.graph = parse_exported_graph(module.at("graph"), modules);
    read_inputs();
    read_tensors();
    read_answers();
    return std::move(program_);
  }

  /// The image's sizes when it was exported.
  std::vector<ExportedSize> image() {
    const Json& specs = json_.at("graph_module").at("signature").at("input_specs");
    for (const Json& spec : specs) {
      if (!spec.contains("user_input")) continue;
      const ExportedArgument argument =
          parse_exported_argument(spec.at("user_input").at("arg"), {});
      if (argument.name() != nullptr) return sizes_of(*argument.name());
    }
    return {};
  }

 private:
  void check_byte_order() const {
    const std::string order = root_ + "/byteorder";
    if (archive_.has(order) && archive_.read(order).substr(0, 6) != "little") {
      throw refusal(
          "its numbers are stored big end first; save it on a machine that stores them "
          "little end first");
    }
  }

  void check_version() const {
    const auto major = whole_number(json_.at("schema_version").at("major"));
    if (major != kMajor) {
      throw refusal(
          "its schema is of version " + std::to_string(major) + ", and " + std::to_string(kMajor) +
          " is read" +
          (major < kMajor ? kSaveAgain : "\n  save it with an older torch, such as 2.13"));
    }
    const auto dialects = json_.value("verifiers", std::vector<std::string>());
    const bool decomposed =
        !dialects.empty() && std::count(dialects.begin(), dialects.end(), "TRAINING") == 0;
    if (decomposed) {
      throw refusal("its operators are decomposed (" + dialects[0] +
                    "): the layers of the network are no longer told apart\n  save what "
                    "torch.export.export(...) gives, without run_decompositions()");
    }
  }

  std::vector<ExportedSize> sizes_of(const std::string& value) const {
    const Json& meta = json_.at("graph_module").at("graph").at("tensor_values").at(value);
    const Json& ranges = json_.at("range_constraints");
    std::vector<ExportedSize> sizes;
    for (const Json& json : meta.at("sizes")) {
      ExportedSize size;
      if (json.contains("as_int")) {
        const auto fixed = whole_number(json.at("as_int"));
        sizes.push_back({fixed, fixed, fixed});
        continue;
      }
      const Json& expression = json.at("as_expr");
      const std::string text = expression.at("expr_str").get<std::string>();
      const std::string symbol = symbol_of(text);
      if (symbol.empty()) {
        throw refusal("a dimension of its input is computed (" + text +
                      ")\n  export it with one that is free: " + export_advice(value));
      }
      size.least = 1;
      size.most = std::numeric_limits<std::int64_t>::max();
      if (ranges.contains(symbol)) {
        const Json& range = ranges.at(symbol);
        if (range.at("min_val").is_number()) size.least = whole_number(range.at("min_val"));
        if (range.at("max_val").is_number()) size.most = whole_number(range.at("max_val"));
      }
      if (expression.contains("hint") && expression.at("hint").contains("as_int")) {
        size.example = whole_number(expression.at("hint").at("as_int"));
      }
      sizes.push_back(size);
    }
    return sizes;
  }

  void read_inputs() {
    std::vector<std::string> images;
    const Json& module = json_.at("graph_module");
    for (const Json& spec : module.at("signature").at("input_specs")) {
      if (spec.contains("user_input")) {
        const ExportedArgument argument =
            parse_exported_argument(spec.at("user_input").at("arg"), {});
        if (argument.name() != nullptr) images.push_back(*argument.name());
      } else if (spec.contains("constant_input")) {
        const Json& input = spec.at("constant_input");
        program_.constants[input.at("name").get<std::string>()] =
            parse_exported_argument(input.at("value"), {});
      } else if (spec.contains("custom_obj") || spec.contains("token")) {
        throw refusal("it holds objects of its own classes, which only their library can read");
      }
    }
    if (images.size() != 1) {
      throw refusal("forward takes " + std::to_string(images.size()) +
                    " inputs; a classifier of images takes one\n  export a module whose forward "
                    "takes the image alone and sets the others");
    }
    program_.input = images[0];
    program_.input_name = images[0];
    const Json& entry = call_signature();
    if (entry.contains("forward_arg_names") && entry.at("forward_arg_names").is_array() &&
        entry.at("forward_arg_names").size() == 1) {
      program_.input_name = entry.at("forward_arg_names")[0].get<std::string>();
    }
    check_image();
  }

  void check_image() {
    const Json& module = json_.at("graph_module");
    const std::vector<ExportedSize> sizes = sizes_of(program_.input);
    if (sizes.size() != program_.input_sizes.size()) {
      throw refusal("its input has " + std::to_string(sizes.size()) +
                    " dimensions; images come as [batch, channels, height, width]");
    }
    constexpr std::int64_t kFloat32 = 7;
    const Json& meta = module.at("graph").at("tensor_values").at(program_.input);
    if (whole_number(meta.at("dtype")) != kFloat32) {
      throw refusal(
          "its input is not float32, as images are; export model.float(), and choose the "
          "number format by [format]");
    }
    std::copy(sizes.begin(), sizes.end(), program_.input_sizes.begin());
    const ExportedSize& batch = program_.input_sizes[0];
    if (batch.least == batch.most) {
      throw refusal("it was exported for a batch of " + std::to_string(batch.most) +
                    " alone\n  export it for any batch: " + export_advice(program_.input_name));
    }
  }

  const Json& call_signature() const {
    static const Json kNone = Json::object();
    for (const Json& entry : json_.at("graph_module").at("module_call_graph")) {
      if (entry.at("fqn").get_ref<const std::string&>().empty() && entry.contains("signature") &&
          entry.at("signature").is_object()) {
        return entry.at("signature");
      }
    }
    return kNone;
  }

  // The table of tensors in one of the archive's folders: name -> entry.
  Json table(const std::string& folder, const std::vector<std::string>& endings) const {
    const auto start = record_.rfind('/') + 1;
    const std::string model = record_.substr(start, record_.size() - start - 5);  // without ".json"
    for (const std::string& ending : endings) {
      const std::string record = root_ + folder + model + ending;
      if (archive_.has(record)) return parse(archive_.read(record), record).at("config");
    }
    if (archive_.has(root_ + folder + model + ".pt")) {
      throw refusal(std::string("its weights are pickled, as older versions of torch do") +
                    kSaveAgain);
    }
    throw refusal("lacks the table of its tensors in '" + root_ + folder + "'");
  }

  void read_tensors() {
    std::map<std::string, ExportedTensor> known;  // by name
    const auto take = [&](const std::string& folder, const Json& entries) {
      for (const auto& [name, entry] : entries.items()) {
        ExportedTensor tensor = tensor_of(name, entry, folder);
        known.try_emplace(name, std::move(tensor));
      }
    };
    take("/data/weights/",
         table("/data/weights/", {"_weights_config.json", "_model_param_config.json"}));
    take("/data/constants/",
         table("/data/constants/", {"_constants_config.json", "_model_constants_config.json"}));
    for (const Json& spec : json_.at("graph_module").at("signature").at("input_specs")) {
      name_value(spec, "parameter", ExportedTensor::Kind::kParameter, known);
      name_value(spec, "buffer", ExportedTensor::Kind::kBuffer, known);
      name_value(spec, "tensor_constant", ExportedTensor::Kind::kConstant, known);
    }
    for (auto& [_, tensor] : known) program_.tensors.push_back(std::move(tensor));
  }

  static void name_value(const Json& spec, const std::string& kind, ExportedTensor::Kind as,
                         std::map<std::string, ExportedTensor>& known) {
    if (!spec.contains(kind)) return;
    const Json& entry = spec.at(kind);
    const auto name = entry.at(kind + "_name").get<std::string>();
    const auto tensor = known.find(name);
    if (tensor == known.end()) throw refusal("lacks the tensor '" + name + "'");
    tensor->second.value = entry.at("arg").at("name").get<std::string>();
    tensor->second.kind = as;
  }

  ExportedTensor tensor_of(const std::string& name, const Json& entry, const std::string& folder) {
    if (entry.at("use_pickle").get<bool>()) {
      throw refusal("its tensor '" + name +
                    "' is pickled: it is of a class of its own, whose Python code would have to "
                    "run\n  export the network with plain tensors");
    }
    const Json& meta = entry.at("tensor_meta");
    constexpr std::int64_t kStrided = 7;
    if (whole_number(meta.at("layout")) != kStrided) {
      throw refusal("its tensor '" + name + "' is sparse; export the network with dense tensors");
    }
    ExportedTensor tensor;
    tensor.name = name;
    const bool learned = entry.at("is_param").get<bool>();
    tensor.kind = learned ? ExportedTensor::Kind::kParameter : ExportedTensor::Kind::kBuffer;
    tensor.storage = root_ + folder + entry.at("path_name").get<std::string>();
    tensor.type = whole_number(meta.at("dtype"));
    for (const Json& size : meta.at("sizes")) tensor.sizes.push_back(size_of(size));
    for (const Json& stride : meta.at("strides")) tensor.strides.push_back(size_of(stride));
    tensor.offset = size_of(meta.at("storage_offset"));
    const auto [storage, fresh] = program_.storages.try_emplace(tensor.storage);
    if (fresh) storage->second = archive_.read(tensor.storage);
    check_extent(tensor, storage->second.size());
    return tensor;
  }

  // What changes buffers stands among the outputs as well, but is no answer.
  void read_answers() {
    const Json& module = json_.at("graph_module");
    for (const Json& spec : module.at("signature").at("output_specs")) {
      if (!spec.contains("user_output")) continue;
      program_.answers.push_back(parse_exported_argument(spec.at("user_output").at("arg"), {}));
    }
    if (program_.answers.empty()) throw refusal("forward returns nothing");
    const Json& signature = call_signature();
    std::size_t values = 0;
    if (signature.contains("out_spec")) {
      const Json spec = parse(signature.at("out_spec").get<std::string>(), record_);
      program_.form = form_of(spec.at(1), values, 0);
    } else if (program_.answers.size() > 1) {
      program_.form.kind = ExportedForm::Kind::kTuple;
      program_.form.parts.resize(program_.answers.size());
      values = program_.answers.size();
    } else {
      values = 1;
    }
    if (values != program_.answers.size()) {
      throw refusal("its answer is told in " + std::to_string(values) + " values and has " +
                    std::to_string(program_.answers.size()));
    }
  }

  // Keys of a dictionary, or names of an object's fields, stand in a tree's context.
  static std::vector<std::string> keys_of(const Json& context, std::size_t count, int depth = 0) {
    constexpr int kDeepest = 64;
    if (!context.is_array() || depth > kDeepest) return {};
    const bool flat =
        context.size() == count && std::all_of(context.begin(), context.end(),
                                               [](const Json& key) { return key.is_primitive(); });
    if (!flat) {
      for (const Json& inner : context) {
        if (auto keys = keys_of(inner, count, depth + 1); !keys.empty()) return keys;
      }
      return {};
    }
    std::vector<std::string> keys;
    for (const Json& key : context) {
      keys.push_back(key.is_string() ? key.get<std::string>() : json_text(key, -1));
    }
    return keys;
  }

  static ExportedForm form_of(const Json& json, std::size_t& values, int depth) {
    constexpr int kDeepest = 64;
    if (depth > kDeepest) throw refusal("its answer is nested too deep");
    ExportedForm form;
    const Json& type = json.at("type");
    if (type.is_null()) {
      ++values;
      return form;
    }
    const Json& parts = json.at("children_spec");
    for (const Json& part : parts) form.parts.push_back(form_of(part, values, depth + 1));
    const auto name = type.get<std::string>();
    const bool numbered = name == "builtins.tuple" || name == "builtins.list" ||
                          name == "collections.namedtuple" || name == "collections.deque";
    if (!numbered && json.at("context").is_string()) {
      const Json context = Json::parse(json.at("context").get<std::string>(), nullptr, false);
      form.keys = keys_of(context, form.parts.size());
    }
    form.kind = form.keys.empty() ? ExportedForm::Kind::kTuple : ExportedForm::Kind::kDictionary;
    return form;
  }

  const ZipArchive& archive_;
  const std::string root_, record_;
  Json json_;
  ExportedProgram program_;
};

}  // namespace

std::string export_advice(const std::string& input) {
  return "torch.export.export(model.eval(), (x,), dynamic_shapes={'" + input +
         "': {0: torch.export.Dim('batch', min=1)}})";
}

bool is_exported_program(const std::filesystem::path& path) {
  bool is = false;
  try {
    with_archive(path, [&](const ZipArchive& archive) {
      is = !root_of(archive).empty() || is_old(archive) || is_compiled(archive);
    });
  } catch (const std::exception&) {
  }
  return is;
}

void with_exported_program(const std::filesystem::path& path,
                           const std::function<void(const ExportedProgram&)>& use) {
  with_archive(path, [&](const ZipArchive& archive) {
    ExportedProgram program;
    try {
      if (is_old(archive)) {
        throw refusal(std::string("was saved by torch 2.7 or older, in another format") +
                      kSaveAgain);
      }
      const std::string root = root_of(archive);
      if (root.empty() && !is_compiled(archive)) throw refusal("is not a torch.export archive");
      program = ProgramReader(archive, root).run();
    } catch (const Json::exception& error) {
      throw Error(ExitCode::kInput,
                  path.string() + ": is not written as torch.export writes it: " + error.what());
    } catch (const std::invalid_argument& error) {
      throw Error(ExitCode::kInput, path.string() + ": " + error.what());
    }
    use(program);
  });
}

std::array<std::int64_t, 3> exported_input(const ZipArchive& archive) {
  try {
    const std::string root = root_of(archive);
    if (root.empty()) return {};
    const std::vector<ExportedSize> sizes = ProgramReader(archive, root).image();
    if (sizes.size() != 4) return {};
    std::array<std::int64_t, 3> shape{};
    for (std::size_t i = 0; i < shape.size(); ++i)
      shape[i] = std::max<std::int64_t>(sizes[i + 1].example, 0);
    return shape;
  } catch (const std::exception&) {
    return {};
  }
}

}  // namespace bitfall
