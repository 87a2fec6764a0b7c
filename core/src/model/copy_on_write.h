// Steps that write in place write to a copy instead, which later steps read.
//
//   slot 4 = slice(slot 3)                    slot 4 = slice(slot 3)
//   slot 5 = add_(slot 4, slot 2)      ──>    slot 5, slot 8 = add_(copy of slot 4, slot 2; slot 3)
//   slot 6 = conv(slot 4)                     slot 6 = conv(slot 5)
//   slot 7 = relu(slot 3)                     slot 7 = relu(slot 8)
//
// Slot 8 is of the copy what slot 3 is of the memory that slot 4 lies in, found as it runs: who
// puts values into one of them between the two steps must have them in the other, too (fork(), by
// `shared`). So a value, once computed, stays what it is: it can be kept, be read by many passes,
// be cut into windows. A list that grows gets a copy of the list, with the very same tensors in it.
#pragma once

#include <functional>

#include "instruction.h"
#include "memory_flow.h"

namespace bitfall {

/// What becomes of a network's writes in place. Those that make no difference are taken out:
/// `exchange` gives their steps the other operator. Of the rest, `program.writes` and `shared`,
/// those writes stay that are needed: to parameters and buffers, to lists that have another name,
/// to tensors that a list holds, of sizes and strides, and within branches and loops. Copies have
/// the strides of what they are of, so that all later steps compute the same bits.
void settle_writes(Instructions& program,
                   const std::function<void(const NeedlessWrite&)>& exchange);

}  // namespace bitfall
