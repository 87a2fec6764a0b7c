// A classifier as a list of steps over a table of slots, so that it can be run from any
// step.
//
//   start(image)   slots: constants, parameters and the image; the rest empty
//        │
//   run(0, 3)      slots: the values that steps 0 to 2 made and that later steps read
//        ├──────── fork(3) ── another table: change a value in it ── run(3, end) ── output()
//        └──────── fork(3) ── ...
//
// What is known of the steps is in steps.h, how they are made of a file in front_end.h.
#pragma once

#include <ATen/core/ivalue.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "answer_form.h"
#include "named_shape.h"
#include "steps.h"
#include "value_type.h"

namespace bitfall {

struct Instruction;
struct Instructions;

class Program {
 public:
  /// Loads a file in eval mode. `device` as torch names it ("cpu", "cuda", "cuda:1").
  /// Throws Error(kUsage) when there is no such device, Error(kInput) when it is neither
  /// TorchScript nor a torch.export archive, is damaged, or has no forward(Tensor); further inputs
  /// keep their defaults.
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
  const Instructions& instructions() const;
  /// Computed from the image, as far as can be said without running.
  bool depends_on_image(int slot) const;
  /// Of the network's parameters, used or not.
  std::int64_t learned_numbers() const;
  /// As FrontEnd has them.
  std::vector<NamedShape> named_parameters() const;
  /// Forward sets attributes of the module.
  bool keeps_state() const;
  const std::vector<Lifetime>& lifetimes() const;  // by slot

  /// The result of one step's operator on other operands. Only for operators of one result.
  c10::IValue call(int step, std::vector<c10::IValue> operands) const;

  /// Images are float32. A network whose parameters are all of another floating-point type, and
  /// that does not run on them, gets them in its own type from here on.
  void choose_input_type(const at::Tensor& input);

  /// A table with constants, parameters and the input, ready for step 0.
  Slots start(const at::Tensor& input) const;

  /// Runs steps [from, to). Slots that no later step reads are emptied on the way, unless `keep`.
  /// `at`: becomes the step that runs, for whoever has to say where an exception came from.
  void run(Slots& slots, int from, int to, bool keep = false, int* at = nullptr) const;

  /// Runs one step; `observer` is told of the calls in it.
  void observe(Slots& slots, int step,
               const std::function<void(const Instruction&, const std::vector<c10::IValue>&,
                                        const Slots&)>& observer) const;

  /// True if any step writes to memory that another slot may share: a kept value may then change
  /// later.
  bool writes_in_place() const;

  /// A table that may be run from step `at` on without harm to `slots`: values that those steps
  /// write to are cloned (shared memory stays shared among the clones).
  Slots fork(const Slots& slots, int at) const;
  /// True if fork() of one table, with the other's values put into it, is the other.
  bool share_alike(const Slots& one, const Slots& other, int at) const;

  /// Which of forward's results is the answer; by default the only one that can be.
  void choose_answer(AnswerChoice choice);

  /// The model's answer, [batch, classes] float32 on the CPU, as chosen.
  at::Tensor output(const Slots& slots) const;

  /// As FrontEnd has it: the oracle.
  at::Tensor forward(const at::Tensor& input) const;
  bool forward_runs_otherwise() const;

  /// SHA-256 over the bits of every parameter and buffer of the module that run() reads.
  std::string checksum() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// What a value's numbers are; nothing where it holds no real numbers, or is sparse or quantised.
std::optional<ValueType> value_type_of(const at::Tensor& value);

/// The bits of a floating-point tensor as integers, contiguous.
at::Tensor bits_of(const at::Tensor& value);

/// The same shape, type and bits.
bool same_bits(const at::Tensor& a, const at::Tensor& b);

/// The same bits, as far as values of this kind can be compared: tensors, lists of them, numbers,
/// lists of integers, strings; otherwise only the very same object.
bool same_value(const c10::IValue& a, const c10::IValue& b);

}  // namespace bitfall
