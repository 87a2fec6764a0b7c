// What is known of a program's steps, parameters and slots without running it.
//
//   step      0 conv     1 view     2 linear
//   slot         4 ─────────┐
//                           5 ─────────┐           slot 4 lives from step 0 to step 1
//                                      6           and `fc.weight` is first read by step 2, a "linear"
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <string>
#include <vector>

namespace bitfall {

struct Instructions;

/// The values of a run, by slot: tensors, lists and numbers. Copying is cheap (reference counts);
/// tensors are shared and must not be written to.
using Slots = std::vector<c10::IValue>;

/// What is known of one step.
struct Step {
  std::string path;       // of the module that runs it: "layer1.0.conv2"; empty for the model's own
                          // forward
  std::string operation;  // kind: "conv", "linear", "matmul", "softmax", "add", ...; empty if it
                          // only moves or inspects values
  std::string function;   // the operator: "aten::conv2d", "prim::ListConstruct"
  std::vector<int> inputs;   // slots of its operands, in the operator's order
  std::vector<int> reads;    // slots of all that it reads, in the branches of a conditional too
  std::vector<int> outputs;  // slots of its results
  int output = -1;           // slot of the result if it is one tensor (of lstm, gru and kin the first
                           // of several), else -1
  bool in_place = false;     // writes to one of its inputs

  std::string place() const;  // "layer1.0.conv2/conv2d", for people
};

/// Which steps a slot's value lives between.
struct Lifetime {
  int made = -1;  // the step that computes it; -1: constants, parameters, the input
  int last = -1;  // the last step that reads it (or makes it); the number of steps for the answer

  /// Made before this step and read by it or later.
  bool lives_at(int step) const { return made < step && last >= step; }
};

/// Another tensor in the memory of a parameter: other sizes, strides or beginning.
struct SharedView {
  int slot = -1;
  at::Tensor value;
};

/// A tensor of the module's state, by its state_dict name.
struct Parameter {
  std::string name;
  at::Tensor value;
  std::vector<int> slots;  // where the program reads it (also those of other names for the very same
                           // tensor)
  std::vector<SharedView> overlaps;  // other tensors that hold a part of the same memory
  bool learned = false;  // a parameter of its module, not a buffer (running statistics)
  int first_step = -1;   // the first step that reads it or what it shares memory with; -1 if none does
  std::string operation;  // kind of the step that computes with it: the first that reads it or a view
                          // of it where that is a convolution or linear layer, else the first in
                          // which what is computed of it meets the image
};

/// The kind of an operator such as "aten::conv2d": "conv"; empty if it computes nothing.
std::string operation_kind(const std::string& function);

std::vector<Step> describe_steps(const Instructions& program);

/// By the first step that reads them, then by name; what nothing reads comes last.
std::vector<Parameter> find_parameters(const Instructions& program);

/// By slot: computed from the image, as far as can be said without running.
std::vector<bool> find_dependent(const Instructions& program);

/// By slot.
std::vector<Lifetime> find_lifetimes(const Instructions& program);

}  // namespace bitfall
