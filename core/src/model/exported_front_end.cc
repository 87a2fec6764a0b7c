#include <c10/util/Exception.h>

#include <fstream>
#include <functional>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

#include "compile_exported.h"
#include "error.h"
#include "exported_program.h"
#include "front_end.h"
#include "torch_message.h"
#include "torch_runtime.h"
#include "zip_archive.h"

namespace bitfall {
namespace {

std::int64_t count_learned(const ExportedProgram& program) {
  std::set<std::pair<std::string, std::int64_t>> seen;  // where it begins
  std::int64_t count = 0;
  for (const ExportedTensor& tensor : program.tensors) {
    if (tensor.kind != ExportedTensor::Kind::kParameter) continue;
    if (!seen.emplace(tensor.storage, tensor.offset).second) continue;
    count += std::accumulate(tensor.sizes.begin(), tensor.sizes.end(), std::int64_t{1},
                             std::multiplies<>());
  }
  return count;
}

class ExportedFrontEnd : public FrontEnd {
 public:
  ExportedFrontEnd(const std::filesystem::path& path, const std::string& device) {
    TorchRuntime::get();
    with_exported_program(path, [&](const ExportedProgram& program) {
      try {
        compiled_ = compile_exported(program, device);
        learned_numbers_ = count_learned(program);
        for (const ExportedTensor& tensor : program.tensors) {
          if (tensor.kind == ExportedTensor::Kind::kParameter) {
            parameters_.push_back({tensor.name, tensor.sizes});
          }
        }
      } catch (const std::invalid_argument& error) {
        throw Error(ExitCode::kInput, path.string() + ": " + error.what());
      } catch (const c10::Error& error) {
        throw Error(ExitCode::kInput, path.string() + ": " + torch_message(error));
      }
    });
    keep_own_state();
  }

  const Instructions& instructions() const override { return compiled_; }

  /// There is nothing to decide: torch.export has, for the sizes that the first step checks.
  bool specialise(const Slots&) override { return false; }

  /// C++ has no other runner of such an archive: the steps, one after the other. What they write to
  /// the network's buffers stays, as it does from call to call in Python.
  c10::IValue forward(const at::Tensor& input) const override {
    Slots slots = start_;
    slots[static_cast<std::size_t>(compiled_.input)] = input.clone();
    for (const Instruction& step : compiled_.steps) execute(step, slots);
    return slots[static_cast<std::size_t>(compiled_.output)];
  }

  std::int64_t learned_numbers() const override { return learned_numbers_; }
  std::vector<NamedShape> named_parameters() const override { return parameters_; }
  bool keeps_state() const override { return keeps_state_; }

 private:
  // Buffers that the steps write to: forward()'s own, apart from those of instructions().
  void keep_own_state() {
    keeps_state_ = writes_to_state(compiled_);
    start_ = keeps_state_ ? fork(compiled_, compiled_.fixed, 0) : compiled_.fixed;
  }

  Instructions compiled_;
  Slots start_;
  std::int64_t learned_numbers_ = 0;
  std::vector<NamedShape> parameters_;
  bool keeps_state_ = false;
};

}  // namespace

std::unique_ptr<FrontEnd> open_exported_program(const std::filesystem::path& path,
                                                const std::string& device) {
  return std::make_unique<ExportedFrontEnd>(path, device);
}

namespace {

// An archive cut off shows no kind: then its name says what it was to be.
bool is_cut_off(const std::filesystem::path& path) {
  std::string start(2, '\0');
  std::ifstream(path, std::ios::binary).read(start.data(), 2);
  if (start != "PK") return false;
  try {
    with_archive(path, [](const ZipArchive&) {});
    return false;
  } catch (const Error&) {
    return true;
  }
}

}  // namespace

std::unique_ptr<FrontEnd> open_network(const std::filesystem::path& path,
                                       const std::string& device) {
  if (is_exported_program(path) || (path.extension() == ".pt2" && is_cut_off(path))) {
    return open_exported_program(path, device);
  }
  return open_torchscript(path, device);
}

}  // namespace bitfall
