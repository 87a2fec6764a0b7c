// Damage-bounded recomputation: carries many trials through the network at once, each by the window
// of its maps that the fault can have reached, cut out with what golden data lie around it. Only
// steps that give windows the bits that whole maps have are run so: each is tried on golden data.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "flight.h"

namespace bitfall {

class Regions {
 public:
  /// `profile`: what whole steps take, to stop where windows no longer pay. Borrows both.
  Regions(const EmulatedModel& model, const PassProfile& profile);
  ~Regions();

  /// Trials that have come to the same step.
  struct Landing {
    int step = 0;
    std::vector<Flight> flights;
  };

  /// Carries trials of one activation or input site from the first step behind it as far as it
  /// pays. `died` is told of those whose damage is gone. Those that are not carried land at the
  /// first step, without pieces.
  std::vector<Landing> carry(std::int32_t site, std::span<const Ready* const> trials,
                             const std::function<void(const Ready&)>& died, EngineCosts& costs);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace bitfall
