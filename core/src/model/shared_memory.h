// Which values a step that works in place may change, by what operators' schemas say of their results.
//
//   aten::relu_(Tensor(a!) self) -> Tensor(a!)         writes to self; the result is in its memory
//   aten::view(Tensor(a) self, int[] size) -> Tensor(a)       the result is in the memory of self
//   aten::add(Tensor self, ...) -> Tensor                     memory of its own
//
// For instructions one after the other, as a torch.export archive has them; writes.h does it for TorchScript.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <cstddef>
#include <vector>

#include "instruction.h"

namespace bitfall {

/// A step that works in place, and the operator that gives a new value instead: relu for relu_.
struct NeedlessWrite {
  std::size_t step = 0;
  c10::OperatorHandle instead;
};

/// Steps that write to what an earlier step has made and nobody has read since: whether they do
/// makes no difference. From there on their results take the place of what they wrote to; the caller
/// exchanges the operators. LibTorch does the same to TorchScript (RemoveTensorMutation), and a step
/// that works in place is no site. To be called ahead of find_writes_by_schema().
std::vector<NeedlessWrite> take_out_needless_writes(Instructions& program);

/// Each slot that may hold memory which a step writes to, by step.
std::vector<Write> find_writes_by_schema(const Instructions& program);

}  // namespace bitfall
