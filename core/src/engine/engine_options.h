// How a campaign is run. But for the seed, hit_value, the emulated sites and the calibration, none
// of it changes a bit of a result.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "outcome.h"
#include "run_settings.h"

namespace bitfall {

struct Guarding;

struct EngineOptions : RunSettings {
  std::vector<std::int32_t>
      emulated;               // sites whose values pass through the format, golden and faulty alike
  bool needs_ranges = false;  // profile golden ranges even if no format calibrates
  bool as_on_device = false;  // treat values on the CPU as those on a GPU are (for tests)
  bool memory_code = false;   // a format's words are stored with a code, which two columns tell of
  bool conditions = false;    // an error model asks for values, which two columns tell of
  std::vector<int> counted_bits;                 // of the payload; see Engine::count_values
  std::vector<std::int32_t> counted_sites;       // whose values are counted
  Guarding* guarding = nullptr;                  // of a protected run; borrowed
  std::size_t flights_at_once = 16'384;          // whose damage is in memory together: bounds it
  std::vector<GoldenResult> known_golden;        // by rising image: of a run that goes on
  std::map<std::int64_t, std::string> given_up;  // trials that are not run, as a plugin crashed in
                                                 // them, and the messages that they are stored with
  std::function<void(std::int64_t)>
      begins;                  // told of each trial that is carried alone; may be null
  bool count_traffic = false;  // operators and copies, see EngineCosts; costs time
};

}  // namespace bitfall
