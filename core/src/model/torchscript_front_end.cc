#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/runtime/print_handler.h>

#include <set>
#include <utility>

#include "compile_graph.h"
#include "error.h"
#include "front_end.h"
#include "torch_message.h"
#include "torchscript_file.h"

namespace bitfall {
namespace {

struct NoWarnings : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

class TorchScriptFrontEnd : public FrontEnd {
 public:
  TorchScriptFrontEnd(const std::filesystem::path& path, const std::string& device)
      : module_(load_torchscript(path, device)), own_(module_) {
    const auto refused = [&](const std::string& problem) {
      return Error(ExitCode::kInput, path.string() + ": " + problem);
    };
    if (!module_.find_method("forward")) throw refused("the module has no forward method");
    module_.eval();
    try {
      source_ = module_graph(module_);
      const std::size_t inputs = source_.graph->inputs().size() - 1;  // without self
      if (inputs == 0) throw refused("forward takes no input");
      if (inputs > 1) {
        throw refused("forward takes " + std::to_string(inputs) +
                      " inputs without a default; a classifier of images takes one");
      }
      compiled_ = compile(source_);
      if (keeps_state() || writes_to_state(compiled_)) own_ = load_torchscript(path, device);
      own_.eval();
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      throw refused("cannot be read as a program of steps: " + torch_message(error));
    }
  }

  const Instructions& instructions() const override { return compiled_; }

  bool specialise(const Slots& slots) override {
    if (!fold_control(source_, compiled_, slots)) return false;
    compiled_ = compile(source_);
    return true;
  }

  /// The interpreter's, which then computes what is written and optimises nothing; but autocast is
  /// one of its optimisations. What the network prints and warns of is no output of ours.
  c10::IValue forward(const at::Tensor& input) const override {
    const torch::jit::GraphOptimizerEnabledGuard optimised(source_.casts);
    NoWarnings no_warnings;
    const c10::WarningUtils::WarningHandlerGuard quiet(&no_warnings);
    torch::jit::setPrintHandler([](const std::string&) {});
    torch::jit::Module module = own_;
    return module.forward({input});
  }

  bool runs_otherwise() const override { return true; }

  std::int64_t learned_numbers() const override {
    std::set<const void*> seen;
    std::int64_t count = 0;
    for (const at::Tensor& parameter : module_.parameters()) {
      if (seen.insert(parameter.const_data_ptr()).second) count += parameter.numel();
    }
    return count;
  }

  std::vector<NamedShape> named_parameters() const override {
    std::vector<NamedShape> found;
    for (const auto& parameter : module_.named_parameters()) {
      found.push_back({parameter.name, parameter.value.sizes().vec()});
    }
    return found;
  }

  bool keeps_state() const override { return source_.sets_attributes; }

 private:
  torch::jit::Module module_;  // as it was loaded
  torch::jit::Module own_;     // forward()'s: another one where it writes to its state
  ModuleGraph source_;
  CompiledGraph compiled_;
};

}  // namespace

std::unique_ptr<FrontEnd> open_torchscript(const std::filesystem::path& path,
                                           const std::string& device) {
  return std::make_unique<TorchScriptFrontEnd>(path, device);
}

}  // namespace bitfall
