#include "compile_exported.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Dict.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>

#include "copy_on_write.h"
#include "error.h"
#include "exported_operands.h"
#include "exported_program.h"
#include "outside_operators.h"
#include "python_numbers.h"
#include "tensor_shape.h"

namespace bitfall {
namespace {

std::invalid_argument unfit_graph(const std::string& problem) {
  return std::invalid_argument(problem);
}

// Casts around an operator, as torch.autocast does for a region of the network.
struct Autocast {
  c10::DeviceType device = c10::kCPU;
  c10::ScalarType type = c10::kBFloat16;
  bool enabled = false;
};

class AutocastGuard {
 public:
  explicit AutocastGuard(const Autocast& wanted)
      : before_{wanted.device, at::autocast::get_autocast_dtype(wanted.device),
                at::autocast::is_autocast_enabled(wanted.device)} {
    set(wanted);
  }
  ~AutocastGuard() {
    at::autocast::clear_cache();  // casts of weights, which a fault may change before the next call
    set(before_);
  }
  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  static void set(const Autocast& to) {
    at::autocast::set_autocast_enabled(to.device, to.enabled);
    at::autocast::set_autocast_dtype(to.device, to.type);
  }
  Autocast before_;
};

// What is done around a call.
struct Fitting {
  std::vector<std::pair<std::size_t, c10::TypePtr>>
      numbers;  // operands that may be of another type
  std::optional<Autocast> autocast;
};

// {"aten::conv2d", ""} of "torch.ops.aten.conv2d.default".
c10::OperatorName operator_name(const std::string& target) {
  const std::string opening = "torch.ops.";
  const auto last = target.rfind('.');
  const auto space = target.find('.', opening.size());
  if (!target.starts_with(opening) || space == target.npos || last <= space) return {"", ""};
  std::string overload = target.substr(last + 1);
  if (overload == "default") overload.clear();
  return {target.substr(opening.size(), space - opening.size()) +
              "::" + target.substr(space + 1, last - space - 1),
          overload};
}

class ExportedCompiler {
 public:
  ExportedCompiler(const ExportedProgram& source, const std::string& device)
      : source_(source), device_(device) {}

  Instructions run() {
    Scope scope;
    add_tensors(scope);
    compiled_.input = new_slot();
    scope[source_.input] = compiled_.input;
    check_sizes();
    for (const auto& [name, value] : source_.constants) scope[name] = fix(constant(value));
    compile(source_.graph, scope);
    std::size_t next = 0;
    compiled_.output = answer(source_.form, scope, next);
    add_state();
    settle_writes(compiled_, [this](const NeedlessWrite& write) {
      set_fitted(compiled_.steps[write.step], write.instead, fittings_[write.step]);
    });
    return std::move(compiled_);
  }

 private:
  using Scope = std::map<std::string, int>;  // slots of a graph's values, by name

  int new_slot() {
    compiled_.fixed.emplace_back();
    is_number_.push_back(false);
    return static_cast<int>(compiled_.fixed.size()) - 1;
  }

  // Equal numbers, texts and lists of integers share a slot.
  int fix(c10::IValue value) {
    const std::string key = key_of(value);
    const auto [known, fresh] = pool_.try_emplace(key, -1);
    if (!fresh && !key.empty()) return known->second;
    const int slot = known->second = new_slot();
    compiled_.fixed.back() = std::move(value);
    return slot;
  }

  static std::string key_of(const c10::IValue& value) {
    if (value.isNone()) return "none";
    if (value.isBool()) return value.toBool() ? "true" : "false";
    if (value.isInt()) return std::to_string(value.toInt());
    if (value.isString()) return "'" + value.toStringRef();
    if (value.isDouble())
      return "f" + std::to_string(std::bit_cast<std::int64_t>(value.toDouble()));
    if (!value.isIntList()) return "";
    std::string key = "[";
    for (const std::int64_t one : value.toIntVector()) key += std::to_string(one) + ",";
    return key;
  }

  // One storage each on the device; tensors are views of them, as they are in the network.
  void add_tensors(Scope& scope) {
    std::map<std::string, at::Tensor> storages;
    for (const ExportedTensor& tensor : source_.tensors) {
      at::Tensor& bytes = storages[tensor.storage];
      if (!bytes.defined()) {
        const std::string_view from = source_.storages.at(tensor.storage);
        bytes = at::empty({static_cast<std::int64_t>(from.size())}, at::kByte);
        if (!from.empty()) std::copy(from.begin(), from.end(), bytes.data_ptr<std::uint8_t>());
        bytes = bytes.to(device_);
      }
      at::Tensor value = at::empty({0}, at::device(device_).dtype(number_type(tensor.type)));
      value.set_(bytes.storage(), tensor.offset, tensor.sizes, tensor.strides);
      values_.push_back(value);
      slots_.push_back(-1);
      if (tensor.value.empty()) continue;
      slots_.back() = fix(value);
      scope[tensor.value] = slots_.back();
      if (tensor.kind == ExportedTensor::Kind::kConstant) constants_.insert(slots_.back());
    }
  }

  // Of what the graph reads, by every name that state_dict has for it: of tied parameters
  // torch.export keeps one.
  void add_state() {
    const std::vector<bool> read = read_slots();
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const ExportedTensor& tensor = source_.tensors[i];
      if (tensor.kind == ExportedTensor::Kind::kConstant && tensor.name.starts_with("lifted_")) {
        continue;  // written out in the code
      }
      const int slot = read_slot_of(i, read);
      if (slot < 0) continue;
      compiled_.state.push_back(
          {slot, tensor.name, values_[i], tensor.kind == ExportedTensor::Kind::kParameter});
    }
  }

  // Where the graph reads it, or the very same under another name; -1 if it does not.
  int read_slot_of(std::size_t i, const std::vector<bool>& read) const {
    const auto is_read = [&](int slot) {
      return slot >= 0 && read[static_cast<std::size_t>(slot)];
    };
    if (is_read(slots_[i])) return slots_[i];
    const ExportedTensor& tensor = source_.tensors[i];
    for (std::size_t j = 0; j < values_.size(); ++j) {
      const ExportedTensor& other = source_.tensors[j];
      const bool same = other.storage == tensor.storage && other.offset == tensor.offset &&
                        other.sizes == tensor.sizes && other.strides == tensor.strides &&
                        other.type == tensor.type;
      if (same && is_read(slots_[j])) return slots_[j];
    }
    return -1;
  }

  std::vector<bool> read_slots() const {
    std::vector<bool> read(compiled_.fixed.size(), false);
    for (const Instruction& step : compiled_.steps) {
      for (const int slot : step.in) read[static_cast<std::size_t>(slot)] = true;
    }
    read[static_cast<std::size_t>(compiled_.output)] = true;
    return read;
  }

  // Numbers in the graph hold for these sizes alone.
  void check_sizes() {
    Instruction check;
    check.function = "prim::CheckSizes";
    check.in = {compiled_.input};
    check.run = [sizes = source_.input_sizes, name = source_.input_name](torch::jit::Stack& stack) {
      const at::Tensor image = stack.at(0).toTensor();
      bool fits = image.dim() == static_cast<std::int64_t>(sizes.size());
      for (std::size_t d = 0; fits && d < sizes.size(); ++d) {
        const std::int64_t size = image.size(static_cast<std::int64_t>(d));
        fits = sizes[d].least <= size && size <= sizes[d].most;
      }
      if (!fits) throw Error(ExitCode::kInput, told(sizes, name, image));
      stack.clear();
    };
    push(std::move(check));
  }

  static std::string told(const std::array<ExportedSize, 4>& sizes, const std::string& name,
                          const at::Tensor& image) {
    const auto range = [](const ExportedSize& size) {
      if (size.least == size.most) return std::to_string(size.least);
      const bool open = size.most == std::numeric_limits<std::int64_t>::max();
      return std::to_string(size.least) + (open ? " or more" : " to " + std::to_string(size.most));
    };
    const bool batch =
        image.dim() == 4 && (image.size(0) < sizes[0].least || image.size(0) > sizes[0].most);
    std::string text = "it was exported for images of shape " + range(sizes[1]) + " x " +
                       range(sizes[2]) + " x " + range(sizes[3]) + " in batches of " +
                       range(sizes[0]) + ", and gets " + shape_text(image.sizes());
    if (batch) return text + "\n  set [run] batch, or export it so: " + export_advice(name);
    return text +
           "\n  give that shape (data preprocess, or --input CxHxW), or export it for more: " +
           "dynamic_shapes={'" + name +
           "': {0: torch.export.Dim('batch', min=1), 2: torch.export.Dim('height'), 3: "
           "torch.export.Dim('width')}}";
  }

  void compile(const ExportedGraph& graph, Scope& scope) {
    for (const ExportedNode& node : graph.nodes) {
      try {
        compile_node(node, scope);
      } catch (const std::invalid_argument& error) {
        const std::string text = error.what();
        if (text.find('\n') != text.npos) throw;  // says what to do
        throw unfit_graph("its step " + node.target + " has " + text);
      }
    }
  }

  void compile_node(const ExportedNode& node, Scope& scope) {
    static const std::string kHigher = "torch.ops.higher_order.";
    if (node.target.starts_with(kHigher)) {
      return compile_region(node, node.target.substr(kHigher.size()), scope);
    }
    if (const PythonNumber operation = python_number(node.target)) {
      return compile_number(node, operation, scope);
    }
    if (node.target == "torch.ops.aten.detach_.default" && node.operands.size() == 1) {
      return define(node.results.at(0), operand_slot(node.operands[0].value, scope), scope);
    }
    if (node.target.starts_with("torch.ops.aten._assert_tensor_metadata.")) {
      return;  // of types, which hold, and of devices, which may be others here
    }
    if (node.target == "torch.ops.aten.lift_fresh_copy.default" && node.operands.size() == 1 &&
        fold_copy(node, scope)) {
      return;
    }
    compile_call(node, scope);
  }

  // torch.tensor(0.5) in the code: a constant from the beginning. What writes to it gets a copy for
  // each run.
  bool fold_copy(const ExportedNode& node, Scope& scope) {
    const int from = operand_slot(node.operands[0].value, scope);
    if (constants_.count(from) == 0) return false;
    const c10::IValue value = compiled_.fixed[static_cast<std::size_t>(from)];
    define(node.results.at(0), fix(value.toTensor().clone()), scope);
    return true;
  }

  void compile_call(const ExportedNode& node, Scope& scope) {
    const c10::OperatorName name = operator_name(node.target);
    if (acts_outside(name.name)) {
      throw unfit_graph("it calls " + name.name + ", which writes files or acts on other machines");
    }
    const auto handle = c10::Dispatcher::singleton().findSchema(name);
    if (!handle) {
      throw unfit_graph(
          "it uses the operator " + (name.name.empty() ? node.target : name.name) +
          ", which PyTorch itself has not\n  name the library that brings it: [model] "
          "libraries = [\"FILE.so\"], or --library");
    }
    const c10::FunctionSchema& schema = handle->schema();
    refuse_training(node, name.name);
    Instruction call;
    call.path = node.path;
    Fitting fitting{{}, autocast_};
    for (const c10::Argument& wanted : schema.arguments()) {
      const int slot = operand(node, wanted, scope);
      const c10::IValue& known = compiled_.fixed[static_cast<std::size_t>(slot)];
      const bool number =
          is_number_[static_cast<std::size_t>(slot)] || (!known.isNone() && !known.isTensor());
      if (number && takes_other_numbers(wanted.type())) {
        fitting.numbers.emplace_back(call.in.size(), wanted.type());
      }
      call.in.push_back(slot);
    }
    if (node.operands.size() > schema.arguments().size()) {
      throw unfit_graph("more operands than it takes");
    }
    set_fitted(call, *handle, fitting);
    add_results(std::move(call), std::move(fitting), node, scope);
  }

  static void set_fitted(Instruction& step, const c10::OperatorHandle& operation,
                         const Fitting& fitting) {
    set_operator(step, operation);
    step.run = [operation, fitting](torch::jit::Stack& stack) {
      for (const auto& [i, type] : fitting.numbers) stack[i] = fitted_number(stack[i], type);
      std::optional<AutocastGuard> guard;
      if (fitting.autocast) guard.emplace(*fitting.autocast);
      operation.callBoxed(stack);
    };
  }

  static const ExportedArgument* given(const ExportedNode& node, const std::string& name) {
    for (const ExportedOperand& operand : node.operands) {
      if (operand.name == name) return &operand.value;
    }
    return nullptr;
  }

  // Layers that behave otherwise in training: their numbers would be of no use.
  static void refuse_training(const ExportedNode& node, const std::string& name) {
    const auto is_on = [&](const char* argument) {
      const ExportedArgument* value = given(node, argument);
      return value != nullptr && value->as<bool>() != nullptr && *value->as<bool>();
    };
    const ExportedArgument* rate = given(node, "p");
    const bool drops = rate == nullptr || rate->as<double>() == nullptr || *rate->as<double>() > 0;
    const ExportedArgument* mean = given(node, "running_mean");
    const bool counts = mean != nullptr && mean->name() != nullptr;
    const bool dropout = name.ends_with("dropout") || name.ends_with("dropout_");
    if ((dropout && is_on("train") && drops) ||
        (name == "aten::batch_norm" && is_on("training") && counts)) {
      throw unfit_graph("it was exported in training mode (" +
                        (node.path.empty() ? name : node.path + ": " + name) +
                        ")\n  call model.eval() before torch.export.export(...)");
    }
  }

  // The slot of an operand; a list that holds computed values is made by a step of its own.
  int operand(const ExportedNode& node, const c10::Argument& wanted, const Scope& scope) {
    const ExportedArgument* value = given(node, wanted.name());
    if (value == nullptr) {
      if (!wanted.default_value()) throw unfit_graph("no operand '" + wanted.name() + "'");
      return fix(*wanted.default_value());
    }
    if (value->name() != nullptr) return operand_slot(*value, scope);
    if (!is_computed(*value)) {
      const bool tensors_missing = value->as<ExportedArgument::None>() != nullptr &&
                                   wanted.type()->kind() == c10::TypeKind::TensorType;
      return fix(tensors_missing ? c10::IValue() : constant_operand(*value, wanted, device_));
    }
    const c10::TypePtr element = element_type(wanted);
    if (element == nullptr) throw unfit_graph("a list for '" + wanted.name() + "'");
    return make_list(*value->as<ExportedArgument::List>(), element, node.path, scope);
  }

  int operand_slot(const ExportedArgument& argument, const Scope& scope) {
    const std::string* name = argument.name();
    if (name == nullptr) return fix(constant(argument));
    const auto known = scope.find(*name);
    if (known == scope.end()) throw unfit_graph("an operand that nothing computes: " + *name);
    return known->second;
  }

  c10::IValue constant(const ExportedArgument& argument) const {
    if (argument.as<ExportedArgument::None>()) return {};
    const c10::TypePtr type = argument.as<std::string>() ? c10::TypePtr(c10::StringType::get())
                              : argument.as<ExportedArgument::NumberType>()
                                  ? c10::TypePtr(c10::IntType::get())
                                  : c10::TypePtr(c10::NumberType::get());
    return constant_operand(argument, c10::Argument("", type), device_);
  }

  int make_list(const ExportedArgument::List& items, const c10::TypePtr& element,
                const std::string& path, const Scope& scope) {
    Instruction make;
    make.path = path;
    make.function = "prim::ListConstruct";
    for (const ExportedArgument& item : items) make.in.push_back(operand_slot(item, scope));
    make.types = {result_type(element) == ResultType::kNumber ? ResultType::kNumber
                                                              : ResultType::kOther};
    make.run = [element](torch::jit::Stack& stack) {
      c10::impl::GenericList list(element);
      for (const c10::IValue& value : stack) list.push_back(fitted_number(value, element));
      stack = {list};
    };
    make.out = {new_slot()};
    const int slot = make.out[0];
    is_number_[static_cast<std::size_t>(slot)] = make.types[0] == ResultType::kNumber;
    push(std::move(make));
    return slot;
  }

  void compile_number(const ExportedNode& node, PythonNumber operation, Scope& scope) {
    Instruction step;
    step.path = node.path;
    step.function = node.target.substr(0, node.target.rfind('.')) +
                    "::" + node.target.substr(node.target.rfind('.') + 1);
    for (const ExportedOperand& operand : node.operands) {
      step.in.push_back(operand_slot(operand.value, scope));
    }
    step.types = {ResultType::kNumber};
    step.run = [operation](torch::jit::Stack& stack) { stack = {operation(stack)}; };
    if (node.results.size() != 1) throw unfit_graph("more than one result");
    step.out = {new_slot()};
    is_number_.back() = true;
    define(node.results[0], step.out[0], scope);
    push(std::move(step));
  }

  void define(const ExportedArgument& result, int slot, Scope& scope) {
    if (result.as<ExportedArgument::None>()) return;
    const std::string* name = result.name();
    if (name == nullptr) throw unfit_graph("a result without a name");
    if (!scope.emplace(*name, slot).second)
      throw unfit_graph("a result that there is already: " + *name);
  }

  // Results of an operator: a list among them is taken apart by a step of its own.
  void add_results(Instruction call, Fitting fitting, const ExportedNode& node, Scope& scope) {
    const auto& returns = call.schema->returns();
    if (node.results.size() != returns.size()) {
      throw unfit_graph(std::to_string(node.results.size()) + " results instead of " +
                        std::to_string(returns.size()));
    }
    std::vector<std::pair<int, const ExportedArgument::List*>> lists;
    for (std::size_t j = 0; j < returns.size(); ++j) {
      const int slot = new_slot();
      call.out.push_back(slot);
      call.types.push_back(result_type(returns[j].type()));
      is_number_.back() = call.types.back() == ResultType::kNumber;
      if (const auto* list = node.results[j].as<ExportedArgument::List>()) {
        lists.emplace_back(slot, list);
      } else {
        define(node.results[j], slot, scope);
      }
    }
    push(std::move(call), std::move(fitting));
    for (const auto& [slot, list] : lists) unpack(slot, *list, node.path, scope);
  }

  void unpack(int slot, const ExportedArgument::List& items, const std::string& path,
              Scope& scope) {
    Instruction step;
    step.path = path;
    step.function = "prim::ListUnpack";
    step.in = {slot};
    for (const ExportedArgument& item : items) {
      step.out.push_back(new_slot());
      step.types.push_back(ResultType::kTensor);
      define(item, step.out.back(), scope);
    }
    step.run = [count = items.size()](torch::jit::Stack& stack) {
      const auto list = stack[0].toListRef().vec();
      if (list.size() != count) {
        throw unfit_graph("a list has " + std::to_string(list.size()) + " tensors and had " +
                          std::to_string(count) + " when the network was exported");
      }
      stack.assign(list.begin(), list.end());
    };
    push(std::move(step));
  }

  // A part of the network in a `with` block: its graph takes the place of the node.
  void compile_region(const ExportedNode& node, const std::string& kind, Scope& scope) {
    const auto graph = std::find_if(
        node.operands.begin(), node.operands.end(), [](const ExportedOperand& operand) {
          return operand.value.as<std::shared_ptr<const ExportedGraph>>() != nullptr;
        });
    if (kind != "wrap_with_set_grad_enabled" && kind != "wrap_with_autocast") {
      throw unfit_graph("it holds the operator '" + kind + "', which " + region_advice(kind));
    }
    const std::size_t options = kind == "wrap_with_autocast" ? 4 : 1;
    const auto at = static_cast<std::size_t>(graph - node.operands.begin());
    if (graph == node.operands.end() || at != options)
      throw unfit_graph("no graph where it should be");
    const ExportedGraph& inner = **graph->value.as<std::shared_ptr<const ExportedGraph>>();
    if (inner.inputs.size() != node.operands.size() - at - 1 ||
        inner.outputs.size() != node.results.size()) {
      throw unfit_graph("a graph of other inputs and outputs");
    }
    Scope within;
    for (std::size_t i = 0; i < inner.inputs.size(); ++i) {
      define(inner.inputs[i], operand_slot(node.operands[at + 1 + i].value, scope), within);
    }
    const std::optional<Autocast> around = autocast_;
    if (kind == "wrap_with_autocast") autocast_ = autocast_of(node);
    compile(inner, within);
    autocast_ = around;
    for (std::size_t i = 0; i < inner.outputs.size(); ++i) {
      define(node.results[i], operand_slot(inner.outputs[i], within), scope);
    }
  }

  static std::string region_advice(const std::string& kind) {
    if (kind == "cond" || kind == "while_loop" || kind == "map_impl" || kind == "scan") {
      return "runs a graph within the graph as values decide\n  write the network with torch.where "
             "or a loop of fixed length, or export it by torch.jit.script";
    }
    return "is made of a graph of its own\n  export the network without it, or by "
           "scripts/export_model.py as TorchScript";
  }

  static Autocast autocast_of(const ExportedNode& node) {
    const auto* device = node.operands[0].value.as<std::string>();
    const auto* type = node.operands[1].value.as<ExportedArgument::NumberType>();
    const auto* enabled = node.operands[2].value.as<bool>();
    if (device == nullptr || enabled == nullptr) throw unfit_graph("no autocast that can be read");
    Autocast autocast;
    autocast.device = c10::Device(*device).type();
    autocast.type = type != nullptr ? number_type(type->code)
                                    : at::autocast::get_autocast_dtype(autocast.device);
    autocast.enabled = *enabled;
    return autocast;
  }

  void push(Instruction step, Fitting fitting = {}) {
    compiled_.steps.push_back(std::move(step));
    fittings_.push_back(std::move(fitting));
  }

  // The slot of an answer, which steps put together where it holds several values.
  int answer(const ExportedForm& form, const Scope& scope, std::size_t& next) {
    if (form.kind == ExportedForm::Kind::kValue) {
      return operand_slot(source_.answers.at(next++), scope);
    }
    Instruction step;
    for (const ExportedForm& part : form.parts) step.in.push_back(answer(part, scope, next));
    step.types = {ResultType::kOther};
    step.out = {new_slot()};
    const int slot = step.out[0];
    if (form.kind == ExportedForm::Kind::kTuple) {
      step.function = "prim::TupleConstruct";
      step.run = [](torch::jit::Stack& stack) { stack = {c10::ivalue::Tuple::create(stack)}; };
    } else {
      step.function = "prim::DictConstruct";
      step.run = [keys = form.keys](torch::jit::Stack& stack) {
        c10::impl::GenericDict dictionary(c10::StringType::get(), c10::AnyType::get());
        for (std::size_t i = 0; i < keys.size(); ++i) dictionary.insert(keys[i], stack[i]);
        stack = {dictionary};
      };
    }
    push(std::move(step));
    return slot;
  }

  const ExportedProgram& source_;
  const c10::Device device_;
  Instructions compiled_;
  std::vector<Fitting> fittings_;     // by step
  std::map<std::string, int> pool_;   // slots of constants, by what they are
  std::set<int> constants_;           // slots of tensors that the code writes out
  std::vector<bool> is_number_;       // by slot
  std::vector<at::Tensor> values_;    // by tensor of the source
  std::vector<int> slots_;            // of them; -1 where the graph has no name for one
  std::optional<Autocast> autocast_;  // around what is compiled
};

}  // namespace

Instructions compile_exported(const ExportedProgram& program, const std::string& device) {
  return ExportedCompiler(program, device).run();
}

}  // namespace bitfall
