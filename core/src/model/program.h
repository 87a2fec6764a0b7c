// A TorchScript classifier as a list of steps over a table of slots, so that it can be run from any
// step. The one header of the half that sees LibTorch types; only program.cc sees TorchScript.
#pragma once

#include <ATen/core/ivalue.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace bitfall {

/// The values of a run, by slot: tensors, lists and numbers. Copying is cheap (reference counts);
/// tensors are shared and must not be written to.
using Slots = std::vector<c10::IValue>;

/// What is known of one step.
struct Step {
  std::string
      path;  // of the module that runs it: "layer1.0.conv2"; empty for the model's own forward
  std::string operation;     // kind: "conv", "linear", "matmul", "softmax", "add", ...; empty if it
                             // only moves or inspects values
  std::string function;      // the operator: "aten::conv2d", "prim::ListConstruct"
  std::vector<int> inputs;   // slots of its operands, in the operator's order
  std::vector<int> outputs;  // slots of its results
  int output = -1;           // slot of the result if it is one tensor, else -1
  bool in_place = false;     // writes to one of its inputs
};

/// Which steps a slot's value lives between.
struct Lifetime {
  int made = -1;  // the step that computes it; -1: constants, parameters, the input
  int last = -1;  // the last step that reads it (or makes it); the number of steps for the answer

  /// Made before this step and read by it or later.
  bool lives_at(int step) const { return made < step && last >= step; }
};

/// A tensor of the module's state, by its state_dict name.
struct Parameter {
  std::string name;
  at::Tensor value;
  std::vector<int>
      slots;  // where the program reads it (also those of other names for the same memory)
  bool learned = false;   // a parameter of its module, not a buffer (running statistics)
  int first_step = -1;    // the first step that reads it; -1 if none does
  std::string operation;  // kind of the first computing step that reads it, behind views
};

class Program {
 public:
  /// Loads a .pt file in eval mode. `device` as torch names it ("cpu", "cuda", "cuda:1").
  /// Throws Error(kUsage) when there is no such device, Error(kInput) when it is no TorchScript
  /// model, is damaged, or has no forward(Tensor).
  Program(const std::filesystem::path& path, const std::string& device);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// Replaces the conditions that depend on shapes alone by what they are for this input, so that
  /// the steps in their branches become ordinary steps. Every later input must have the same shape.
  /// Call once, before steps() is used.
  void specialise(const at::Tensor& input);

  const std::vector<Step>& steps() const;
  const std::vector<Parameter>& parameters() const;
  int input_slot() const;
  const std::vector<Lifetime>& lifetimes() const;  // by slot

  /// The result of one step's operator on other operands. Only for operators of one result.
  c10::IValue call(int step, std::vector<c10::IValue> operands) const;

  /// A table with constants, parameters and the input, ready for step 0.
  Slots start(const at::Tensor& input) const;

  /// Runs steps [from, to). Slots that no later step reads are emptied on the way, unless `keep`.
  void run(Slots& slots, int from, int to, bool keep = false) const;

  /// True if any step writes to memory that another slot may share: a kept value may then change
  /// later.
  bool writes_in_place() const;

  /// True if a conditional or a loop reads tensor values: one image of a batch then decides for
  /// all.
  bool branches_on_values() const;

  /// A table that may be run from step `at` on without harm to `slots`: values that those steps
  /// write to are cloned (shared memory stays shared among the clones).
  Slots fork(const Slots& slots, int at) const;

  /// The model's answer, [batch, classes] float32 on the CPU. The first tensor where forward
  /// returns a tuple.
  at::Tensor output(const Slots& slots) const;

  /// The answer of Module::forward of the untouched module: the oracle.
  at::Tensor forward(const at::Tensor& input) const;

  /// SHA-256 over the bits of every parameter and buffer of the module that run() reads.
  std::string checksum() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The same shape, type and bits.
bool same_bits(const at::Tensor& a, const at::Tensor& b);

/// The same bits, as far as values of this kind can be compared: tensors, lists of them, numbers,
/// lists of integers, strings; otherwise only the very same object.
bool same_value(const c10::IValue& a, const c10::IValue& b);

}  // namespace bitfall
