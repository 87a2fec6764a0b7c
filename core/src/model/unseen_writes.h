// Writes that LibTorch's passes over a graph do not see, shown to them.
//
//   %a = stack(%l)                 [0]    Two nodes of the same operator and operands are taken for
//   %y = add_(%x, 1)    # %x in %l [1]    one unless there is known to be a write between them. It is
//   %b = stack(%l)                 [2]    not where it is to what a container holds or to what an
//                                         operator has handed back. So all that reads or makes such
//                                         memory gets a mark: an attribute whose number no other
//                                         node has.
//
//   %y = type_as(%x, %w)                  What nothing reads is taken out, and with it writes to it.
//   %z = add_(%y, 1)                      That %y is %x is not known: so %y is printed, which counts
//   return %x           print(%y)         as a reading. Nothing of it remains in the steps.
//
//   %z = add(%x, %x)                      Steps are moved to where what they make is written to, also
//   %y = type_as(%x, %w)                  over such a write: then none may be moved.
//   add_(%y, 1)
//   relu_(%z)
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <memory>

namespace bitfall {

/// To be called once, ahead of freezing. Loops of known length in which there are such nodes are
/// unrolled: a turn must not have the marks of another. prim::Print is to be passed over from then on.
void show_unseen_writes(std::shared_ptr<torch::jit::Graph>& graph);

/// Whether what an operator may have handed back is written to.
bool writes_to_handed_back(torch::jit::Graph& graph);

/// Takes the marks off.
void take_marks_off(torch::jit::Graph& graph);

}  // namespace bitfall
