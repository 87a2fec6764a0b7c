// Which values a step that works in place may change, by what operators' schemas say of their
// results.
//
//   aten::relu_(Tensor(a!) self) -> Tensor(a!)         writes to self; the result is in its memory
//   aten::view(Tensor(a) self, int[] size) -> Tensor(a)       the result is in the memory of self
//   aten::add(Tensor self, ...) -> Tensor                     memory of its own
//   aten::append.t(t[](a!) self, t(c -> *) el) -> t[](a!)     writes to the list, not to what is in
//   it
//
// A table of slots that is run twice from one step on needs copies of what the later steps write
// to.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <cstddef>
#include <string_view>
#include <vector>

#include "instruction.h"

namespace bitfall {

/// Operators that may give an operand back, or a view of it, and do not say so in their schemas.
bool may_hand_back(std::string_view function);

/// Which operands a result may lie in the memory of, or hold, by what the operator says of it.
enum class SharedWith {
  kNone,   // it is new
  kNamed,  // those that the schema names for it
  kAll
};

SharedWith shared_with(const c10::FunctionSchema& schema, std::size_t result, ResultType type);

/// A list of whatever it is, which TorchScript's own operators take: t[].
bool is_any_list(const c10::TypePtr& type);

/// A step that works in place, and the operator that gives a new value instead: relu for relu_.
struct NeedlessWrite {
  std::size_t step = 0;
  c10::OperatorHandle instead;
};

/// Steps that write to what an earlier step has made and nobody has read since: whether they do
/// makes no difference. From there on their results take the place of what they wrote to; the
/// caller exchanges the operators. They are sites then, which steps that work in place are not. To
/// be called ahead of find_writes().
std::vector<NeedlessWrite> take_out_needless_writes(Instructions& program);

/// Each slot that may hold memory which a step, or one within it, writes to; or a list or
/// dictionary that it changes, or one with that in it.
std::vector<Write> find_writes(const Instructions& program);

}  // namespace bitfall
