// A step as it is run: a TorchScript operation, and the slots of its operands and results.
//
//   %7 : Tensor = aten::add(%3, %5, %2)            in = {3, 5, 2}, out = {7}
//
//   slots   0     1     2     3     4     5     6     7
//                       │     │           │           ▲
//                       └─────┴───── aten::add ───────┘
//
// A conditional or a loop holds instructions of its own, over the same table.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <vector>

#include "steps.h"

namespace bitfall {

struct Instruction;

/// A branch of a conditional, or the body of a loop.
struct CompiledBranch {
  std::vector<Instruction> instructions;
  std::vector<int> inputs;   // slots of a body's own inputs: the counter, then the carried values
  std::vector<int> outputs;  // slots of its results
};

struct Instruction {
  torch::jit::Node* node = nullptr;
  // Calling one is not const, though ours hold no state. Null for what execute() does itself.
  mutable torch::jit::Operation run{nullptr};
  std::vector<int> in, out;
  std::vector<CompiledBranch> branches;
  bool counts_operands = false;  // takes any number of them, and is told how many
};

/// Replaces the operands on the stack by the operator's results.
void run_operator(const Instruction& instruction, torch::jit::Stack& stack);

/// Runs one instruction on the table. Throws Error(kInput) where it is of a kind that cannot be run
/// by itself, else what the operation throws.
void execute(const Instruction& instruction, Slots& slots);

}  // namespace bitfall
