// Which values a step that works in place may change, by TorchScript's analysis of what shares memory.
//
//   slot 4 = conv(...)
//   slot 5 = view(slot 4)
//   slot 6 = relu_(slot 5)      step 2 writes to slots 4, 5 and 6: one memory
//
// A table of slots that is run twice from one step on needs copies of what the later steps write to.
#pragma once

#include <vector>

#include "instruction.h"

namespace bitfall {

struct CompiledGraph;

/// Of a graph with its steps, nodes and slots.
std::vector<Write> find_writes(const CompiledGraph& compiled);

}  // namespace bitfall
