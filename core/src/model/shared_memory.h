// Which values a step that works in place may change, by what operators' schemas say of their results.
//
//   aten::relu_(Tensor(a!) self) -> Tensor(a!)         writes to self; the result is in its memory
//   aten::view(Tensor(a) self, int[] size) -> Tensor(a)       the result is in the memory of self
//   aten::add(Tensor self, ...) -> Tensor                     memory of its own
//
// For instructions one after the other, as a torch.export archive has them; writes.h does it for TorchScript.
#pragma once

#include <vector>

#include "instruction.h"

namespace bitfall {

/// Each slot that may hold memory which a step writes to, by step.
std::vector<Write> find_writes_by_schema(const Instructions& program);

}  // namespace bitfall
