// Lists that grow step by step become lists made at once, as tracing has them:
//
//   %l = [%a]                                 %y = cat([%a])
//   %y = cat(%l)                              %z = cat([%a, %b])
//   %l.append(%b)                  ──>
//   %z = cat(%l)
//
// LibTorch does so (RemoveListMutation) where nothing reads the list in between; DenseNet's layers
// do.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace bitfall {

/// Of lists that are made and grow (append, extend, +=) outside of conditionals and loops, and are
/// never handed on: not put into another value, nor returned.
void make_lists_at_once(torch::jit::Graph& graph);

/// Lists of tensors that do not grow are made in front of each node that reads them. To be called
/// ahead of what LibTorch does to a graph: it takes two readers of one list for the same though a
/// tensor in it is written to between them (common subexpressions, as a part of freezing), and a
/// write for idle that only a list shows (dead code).
void make_lists_for_each_reader(torch::jit::Graph& graph);

}  // namespace bitfall
