// Trials on their way through the network.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "faults.h"
#include "golden.h"
#include "injection.h"

namespace bitfall {

/// What a trial has changed of one slot's value: its image as a whole, or a window [C, h, w] of its
/// map.
struct Damage {
  int slot = -1;
  bool whole = true;
  std::int64_t top = 0, left = 0;  // of the window
  at::Tensor values;               // whole: of several trials, [trials, ...] by image
  std::int64_t row = 0;            // whole: this trial's among them
};

/// A trial between its site and its answer. Wherever it stands in the network, all values of its
/// image are golden's but for the damage. One without damage stands at its site, its injection not
/// yet put in.
struct Flight {
  Trial trial;
  const GoldenChunk* golden = nullptr;
  std::int64_t row = 0;  // of its image in the chunk
  Injection injection;
  std::vector<Damage> damage = {};
  std::int64_t draws = 1;  // of its fault, until the error model's condition held
  bool given_up = false;   // it never did: the fault changes nothing
  bool detected = false;   // behind its site a guard changed what it leaves alone without the fault
  bool detected_at_site = false;  // at its site one did; another that changes the same may differ
};

}  // namespace bitfall
