// What a file of a network gives, whatever kind of file it is: instructions, and its own way to run.
//
//   .pt   TorchScript       open_torchscript()
//   .pt2  torch.export      open_exported_program()
#pragma once

#include <ATen/core/ivalue.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "instruction.h"
#include "named_shape.h"

namespace bitfall {

class FrontEnd {
 public:
  virtual ~FrontEnd() = default;
  virtual const Instructions& instructions() const = 0;
  /// Decides what depends on shapes alone, for a run that begins with `slots`; the instructions are
  /// then others, and there may be more to decide. False if nothing changed.
  virtual bool specialise(const Slots& slots) = 0;
  /// The answer of the network as it was loaded, by the file's own rules: the oracle. What it keeps
  /// from call to call is apart from instructions().
  virtual c10::IValue forward(const at::Tensor& input) const = 0;
  /// forward() is not the instructions, one after the other.
  virtual bool runs_otherwise() const { return false; }
  /// How many numbers the network's parameters hold, used or not; memory of two names once.
  virtual std::int64_t learned_numbers() const = 0;
  /// All parameters, used or not, in the order in which their modules were registered.
  virtual std::vector<NamedShape> named_parameters() const = 0;
  /// The network may keep something from call to call.
  virtual bool keeps_state() const { return false; }
};

/// `device` as torch names it. Both throw Error(kInput) where the file is missing, damaged, of
/// another kind, or takes more than an image.
std::unique_ptr<FrontEnd> open_torchscript(const std::filesystem::path& path,
                                           const std::string& device);
std::unique_ptr<FrontEnd> open_exported_program(const std::filesystem::path& path,
                                                const std::string& device);

/// By what the file holds.
std::unique_ptr<FrontEnd> open_network(const std::filesystem::path& path,
                                       const std::string& device);

}  // namespace bitfall
