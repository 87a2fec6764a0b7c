// What LibTorch's passes over a graph do not see, shown to them: that each call of an operator is
// one of its own, which a fault may hit alone, and writes to what a container holds, or to what an
// operator or a loop without a turn has handed back.
//
//   %a = conv2d(%x, %w)                   [0]     # three copies of a layer, of which the median is
//   %b = conv2d(%x, %w)                   [1]     # taken: the same numbers, and not the same place
//   %c = conv2d(%x, %w)                   [2]
//
//   %a = stack(%l)                        [0]
//   %y = add_(%x, 1)     # %x is in %l    [1]
//   %b = stack(%l)                        [2]
//
// Two nodes of the same operator and operands are taken for one unless a write between them is
// known. So all that makes tensors, and all that reads such memory, gets a mark: an attribute of a
// number that no other node has.
//
//   %y = type_as(%x, %w)                  # %x itself
//   %z = add_(%y, 1)
//   return %x                             print(%y)
//
// What nothing reads is taken out, and writes to it as well. So %y is printed, which counts as a
// reading; nothing of it remains in the steps.
//
//   %z = add(%x, %x)
//   %y = type_as(%x, %w)
//   add_(%y, 1)
//   relu_(%z)
//
// Steps are moved to where what they make is written to, also over such a write: where there are
// such writes, none may be moved.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <memory>

namespace bitfall {

/// To be called once, ahead of freezing. Loops of known length in which there are marked nodes are
/// unrolled: a turn must not have the marks of another. prim::Print is to be passed over from then
/// on.
void show_calls_and_writes(std::shared_ptr<torch::jit::Graph>& graph);

/// Whether what an operator may have handed back is written to.
bool writes_to_handed_back(torch::jit::Graph& graph);

/// Takes the marks off.
void take_marks_off(torch::jit::Graph& graph);

}  // namespace bitfall
