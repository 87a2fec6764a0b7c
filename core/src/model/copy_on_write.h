// Steps that write in place get a copy to write to, where nobody can tell.
//
//   slot 4 = slice(slot 3)                    slot 4 = slice(slot 3)
//   slot 5 = add_(slot 4, slot 2)      ──>    slot 5 = add_(copy of slot 4, slot 2)
//   slot 6 = conv(slot 4)                     slot 6 = conv(slot 5)
//
// So that a value, once computed, stays what it is: it can be kept, be read by many passes, be cut
// into windows. A list that grows gets a copy of the list, with the very same tensors in it.
#pragma once

#include "instruction.h"

namespace bitfall {

/// To be called when `program.writes` is known, of which those stay that are needed: where a later
/// step, or the answer, reads the memory by another name than the step's operand or result, where it
/// is a parameter's or a buffer's, or where the write lies in a branch or a loop. Copies have the
/// strides of what they are of, so that all later steps compute the same bits.
void copy_on_write(Instructions& program);

}  // namespace bitfall
