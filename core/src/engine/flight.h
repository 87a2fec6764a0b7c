// Trials on their way through the network.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "golden.h"
#include "injection.h"
#include "plan.h"

namespace bitfall {

/// A trial that is ready to run: its edits were applied to the golden values of its place.
struct Ready {
  std::int64_t id = 0;
  Trial trial;
  const GoldenChunk* golden = nullptr;
  std::int64_t row = 0;  // of its image in the chunk
  Injection injection;
};

/// What a trial has changed of one slot's value: its image's slabs as a whole, or a window
/// [C, h, w] of its map.
struct Piece {
  int slot = -1;
  bool whole = true;
  std::int64_t top = 0, left = 0;
  at::Tensor values;
};

/// A trial at a cut of the network: everything there that is not golden's. Without pieces it stands
/// at its site, its injection not yet put in.
struct Flight {
  const Ready* ready = nullptr;
  std::vector<Piece> pieces;
};

}  // namespace bitfall
