// Damage-bounded recomputation: carries many trials through the network at once, each by the window
// of its maps that the fault can have reached, cut out with what golden data lie around it. Only
// steps that give windows the bits that whole maps have are run so: each is tried on golden data.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "flight.h"
#include "window_calls.h"

namespace bitfall {

class Regions {
 public:
  /// `step_costs`: of whole steps, to stop where windows no longer pay. Borrows all.
  Regions(const EmulatedModel& model, const StepCosts& step_costs, WindowWays& ways);
  ~Regions();

  using Died = std::function<void(const Flight&)>;

  /// Carries trials of one activation or input site from the first step after it as far as it pays.
  /// Those that are left, with their damage, by the step that they have come to; those that were
  /// not carried stand at the first step, without damage. `died` is told of the others.
  std::map<int, std::vector<Flight*>> carry(std::int32_t site, std::span<Flight* const> flights,
                                            const Died& died, EngineCosts& costs);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace bitfall
