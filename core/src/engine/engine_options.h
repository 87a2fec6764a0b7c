// How a campaign is run. But for the seed, hit_value, the emulated sites and the calibration, none
// of it changes a bit of a result.
#pragma once

#include <cstdint>
#include <vector>

#include "run_settings.h"

namespace bitfall {

struct Guarding;

struct EngineOptions : RunSettings {
  std::vector<std::int32_t>
      emulated;               // sites whose values pass through the format, golden and faulty alike
  bool needs_ranges = false;  // profile golden ranges even if no format calibrates
  bool as_on_device = false;  // treat values on the CPU as those on a GPU are (for tests)
  bool memory_code = false;  // a format's words are stored with a code: two columns say what it did
  Guarding* guarding = nullptr;  // of a protected run; borrowed
  bool count_traffic = false;  // operators and copies, see EngineCosts; costs time
};

}  // namespace bitfall
