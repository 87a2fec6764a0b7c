// What the values of the images may decide, followed step by step next to a run:
//
//   mask = y > 0           content: its numbers come from the image
//   some = y[mask]         size:    how many there are, too
//   rows = y[order]        rows:    which image lies in which row, too
//   y / y.max()            mixed:   a number over the whole batch
//   linear(some)           grouped: last bits, as a product of another size may have others
//   if bool(mask.any())    a condition that reads values
//
// Sizes and conditions that this does not mark are the same for every batch of the same shape.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "instruction.h"

namespace bitfall {

/// Of the value in one slot.
struct ValueMarks {
  bool content = false;  // numbers depend on the images' values
  bool size = false;     // sizes, or how many things a list holds
  bool rows = false;     // the order of the images, or of rows along dimension 0
  bool mixed = false;    // a reduction over the images of the batch
  bool grouped = false;  // computed with as many others as the images' values decide

  bool any() const { return content || size || rows || mixed || grouped; }
  ValueMarks& operator|=(const ValueMarks& other);
  friend bool operator==(const ValueMarks&, const ValueMarks&) = default;
};

class ValueFlow {
 public:
  /// The dimension that holds the images of a batch of more than one; nothing where none is known.
  using ImageDimension = std::function<std::optional<std::int64_t>(int slot)>;

  /// Borrows the program. Without `images`, reductions over the batch are not looked for.
  explicit ValueFlow(const Instructions& program, ImageDimension images = nullptr);

  /// Follows step `i`. `slots`: the table before it runs, or after it with its operands still
  /// there.
  void follow(int i, const Slots& slots);

  const ValueMarks& of(int slot) const { return marks_[static_cast<std::size_t>(slot)]; }
  /// The step has a conditional or a loop, its own or within it, that reads values, other than to
  /// raise an exception. To be asked before it is followed.
  bool branches_on_values(const Instruction& instruction);
  /// Where the first reduction over the batch was seen: "fc_norm: aten::amax"; empty if nowhere.
  const std::string& first_mixed() const { return first_mixed_; }

 private:
  ValueMarks& at(int slot) { return marks_[static_cast<std::size_t>(slot)]; }
  void follow(const Instruction& instruction, const Slots& slots, bool runs);
  void follow_call(const Instruction& instruction, const Slots& slots, bool runs);
  void follow_branches(const Instruction& instruction, const Slots& slots);
  ValueMarks of_operands(const Instruction& instruction) const;
  bool size_is_decided(const Instruction& instruction, const Slots& slots, bool runs) const;
  bool rows_are_moved(const Instruction& instruction, const Slots& slots) const;
  bool mixes_images(const Instruction& instruction, const Slots& slots) const;

  const Instructions& program_;
  ImageDimension images_;
  std::vector<ValueMarks> marks_;
  std::string first_mixed_;
};

/// A conditional or a loop of the program reads values, other than to raise an exception.
bool branches_on_values(const Instructions& program);

/// The operator draws random numbers when it is called so: dropout with `train` false does not.
bool is_random(const Instruction& instruction, const Slots& slots);

}  // namespace bitfall
