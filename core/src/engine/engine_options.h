// How a campaign is run. But for the seed, hit_value, the emulated sites and the calibration, none
// of it changes a bit of a result.
#pragma once

#include <cstdint>
#include <vector>

#include "config.h"

namespace bitfall {

struct EngineOptions {
  std::uint64_t seed = 1;  // deals the images into chunks
  bool suffix = true;  // false: every pass runs the whole network from the image (the oracle of the
                       // fast path)
  bool early_stop =
      true;             // finish a trial where its damage has died out, and pack those left again
  bool share = true;    // run trials that change the same values in the same image once
  bool regions = true;  // recompute only the windows that a fault can have reached
  HitValue hit_value = HitValue::kRaw;
  std::vector<std::int32_t>
      emulated;               // sites whose values pass through the format, golden and faulty alike
  bool needs_ranges = false;  // profile golden ranges even if no format calibrates
  Calibration calibration;    // of the formats that do
  bool as_on_device = false;  // treat values on the CPU as those on a GPU are (for tests)
  std::int64_t memory_budget = std::int64_t{2} << 30;  // bytes of golden values to keep; beyond it
                                                       // they are computed once more
  int workers = 1;  // threads that run groups of chunks next to each other; the CPU alone
};

}  // namespace bitfall
