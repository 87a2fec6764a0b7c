// A step as it is run: an operation, and the slots of its operands and results. Front ends make
// them of a file: compile_graph.h of TorchScript, compile_exported.h of a torch.export archive.
//
//   %7 : Tensor = aten::add(%3, %5, %2)            in = {3, 5, 2}, out = {7}
//
//   slots   0     1     2     3     4     5     6     7
//                       │     │           │           ▲
//                       └─────┴───── aten::add ───────┘
//
// A conditional or a loop holds instructions of its own, over the same table.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/function_schema.h>
#include <ATen/core/stack.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "steps.h"

namespace c10 {
class OperatorHandle;
}

namespace bitfall {

struct Instruction;

/// What a result is, as far as it can be said without running.
enum class ResultType {
  kTensor,
  kNumber,  // numbers, truth values, texts, devices, and lists of them
  kOther,   // what may hold tensors: lists, tuples, dictionaries, objects, optional tensors
};

ResultType result_type(const c10::TypePtr& type);

/// What LibTorch says of an operator (at::Tag).
struct OperatorTags {
  bool random = false;        // nondeterministic_seeded
  bool dynamic_size = false;  // dynamic_output_shape: sizes of results depend on values
};

/// Of the operator with that schema; none where the dispatcher does not know it.
OperatorTags tags_of(const c10::FunctionSchema& schema);

/// A branch of a conditional, or the body of a loop.
struct CompiledBranch {
  std::vector<Instruction> instructions;
  std::vector<int> inputs;   // slots of a body's own inputs: the counter, then the carried values
  std::vector<int> outputs;  // slots of its results
  bool raises = false;       // it ends by raising an exception, always
};

struct Instruction {
  enum class Kind { kCall, kIf, kLoop };

  Kind kind = Kind::kCall;
  std::string path;      // of the module that runs it: "layer1.0.conv2"
  std::string function;  // "aten::conv2d"
  // Calling one is not const, though ours hold no state. Replaces the operands on the stack by the
  // results.
  mutable torch::jit::Operation run{nullptr};
  std::vector<int> in, out;
  std::vector<CompiledBranch> branches;
  std::vector<ResultType> types;  // by result
  // The last so many operands are further names of the memory that it writes to, and the last so
  // many results what they name then (copy_on_write.h).
  std::size_t names = 0;
  // Of an operator: what its arguments are called, and which of them it writes to. Else null.
  const c10::FunctionSchema* schema = nullptr;
  OperatorTags tags;

  bool one_tensor() const { return types.size() == names + 1 && types[0] == ResultType::kTensor; }
  bool in_place() const { return schema != nullptr && schema->is_mutable(); }
  /// The operand of that name, as it lies in the table; null if there is none.
  const c10::IValue* argument(const std::string& name, const Slots& slots) const;
};

/// A tensor of the module's state in a slot.
struct StateTensor {
  int slot = -1;
  std::string name;  // of state_dict: "layer1.0.conv1.weight"
  at::Tensor value;
  bool learned = false;  // a parameter of its module, not a buffer (running statistics)
};

/// The step may write to the memory of the slot's value.
struct Write {
  int step = 0;
  int slot = 0;
};

/// Behind the one step, up to the other, the slot shares memory with other slots, and a step at
/// that place or behind it goes by that.
struct SharedMemory {
  int slot = 0;
  int from = 0;
  int to = 0;
};

/// A whole network.
struct Instructions {
  std::vector<Instruction> steps;
  Slots fixed;  // constants and the module's state; the rest empty
  std::vector<StateTensor> state;
  std::vector<Write> writes;
  std::vector<SharedMemory> shared;  // see copy_on_write.h
  int input = -1;
  int output = -1;
};

/// Whether the steps write to the network's own tensors: what they hold is then another from call
/// to call.
bool writes_to_state(const Instructions& program);

/// Makes it a call of the operator, on its operands as they are.
void set_operator(Instruction& instruction, const c10::OperatorHandle& operation);

/// The slots that an instruction reads from outside itself, those of its branches included.
void collect_reads(const Instruction& instruction, std::set<int>& reads);

/// From now on it, and what it holds, reads the one slot in place of the other.
void exchange_reads(Instruction& instruction, int from, int to);

/// Told of each call as it has run, also within conditionals and loops: its operands and results.
using CallObserver =
    std::function<void(const Instruction&, const std::vector<c10::IValue>&, const Slots&)>;

/// Runs one instruction on the table. Throws what the operation throws.
void execute(const Instruction& instruction, Slots& slots, const CallObserver* observer = nullptr);

/// A copy of the memory that a tensor lies in, and in it what all that lies there is there: views
/// stay views, with their strides, and of their types.
class MovedMemory {
 public:
  MovedMemory() = default;
  /// Nothing is moved where the tensor has no such memory (undefined, sparse).
  explicit MovedMemory(const at::Tensor& tensor);

  bool moved() const { return to_.defined(); }
  /// A tensor of other memory: itself.
  at::Tensor of(const at::Tensor& tensor) const;

 private:
  const void* from_ = nullptr;
  at::Tensor to_;
};

/// A table that may be run from step `at` on without harm to `slots`: values that those steps write
/// to are cloned (shared memory stays shared among the clones), and so are values that share memory
/// where that matters to them: what is put into one is then seen in the others.
Slots fork(const Instructions& program, const Slots& slots, int at);

/// Whether the values that fork(program, ..., at) clones share memory in one table in the same way
/// as in the other. A step that decides by values may give the one an operand itself and the other
/// what it makes of it: what is put into a fork of one is then not what the other is.
bool share_alike(const Instructions& program, const Slots& one, const Slots& other, int at);

}  // namespace bitfall
