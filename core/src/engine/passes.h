// Whole passes: runs trials from a cut of the network to its end, one an image row, trials of
// several chunks together where that gives the same bits.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "engine_costs.h"
#include "flight.h"

namespace bitfall {

/// Where the time goes; the other steps of a network cost little beside.
bool is_expensive(const Step& step);

class Passes {
 public:
  using Done = std::function<void(const Ready&, std::span<const float> logits)>;

  /// Borrows the model. `early_stop`: finish trials whose damage is gone before an expensive step
  /// and pack those left anew. `waiting_bytes`: memory for trials that wait at such a step.
  Passes(const EmulatedModel& model, bool early_stop, std::int64_t waiting_bytes);

  /// Runs flights that stand at `step`. Those without pieces stand at the first step behind `site`.
  /// `begin` is called before each pass. Stops early if `stop` becomes true.
  void run(std::int32_t site, int step, std::vector<Flight> flights, const Done& done,
           const std::function<void()>& begin, const std::atomic<bool>& stop, EngineCosts& costs);

  /// The oracle: whole networks from the image, the fault put in on the way.
  void run_whole(std::int32_t site, std::vector<Flight> flights, const Done& done,
                 const std::function<void()>& begin, const std::atomic<bool>& stop,
                 EngineCosts& costs);

  /// Forgets what it knows of golden chunks, before they go.
  void new_group() { mixable_.clear(); }

 private:
  struct Seat {
    Flight flight;
    std::int64_t row = 0;  // of the pass
  };
  using Pass = std::vector<Seat>;

  std::int64_t batch() const { return model_.model().batch(); }
  int steps() const { return static_cast<int>(program_.steps().size()); }
  bool movable(int cut);
  bool alike(int cut, const GoldenChunk& a, const GoldenChunk& b);
  std::vector<Pass> pack(int cut, std::vector<Flight> flights);
  std::vector<Pass> pack_at_home(std::vector<Flight> flights) const;
  std::vector<Pass> pack_weights(std::vector<Flight> flights) const;
  RowImages images_of(const Pass& pass) const;
  Slots table(int cut, const Pass& pass, std::vector<bool>& own) const;
  Slots at_cut(std::int32_t site, int cut, const Pass& pass) const;
  void put_in(std::int32_t site, const Pass& pass, Slots& slots, std::vector<bool>& own) const;
  std::optional<std::vector<int>> changed_slots(std::int32_t site, const Slots& slots, int from,
                                                int cut, const Pass& pass) const;
  std::vector<bool> alive(const Slots& slots, std::span<const int> changed, const Pass& pass) const;
  bool differs(const Slots& slots, std::span<const int> changed, const Seat& seat) const;
  void finish(const Pass& pass, const Slots& slots, const Done& done, EngineCosts& costs) const;
  void wave(std::int32_t site, int from, std::vector<Pass> passes, bool look, const Done& done,
            const std::function<void()>& begin, const std::atomic<bool>& stop, EngineCosts& costs);

  const EmulatedModel& model_;
  const Program& program_;
  bool early_stop_;
  std::int64_t waiting_bytes_;
  std::map<int, bool> movable_;  // by cut
  /// Whether all that lives at a cut besides images' own values is equal in two chunks.
  std::map<std::tuple<int, const GoldenChunk*, const GoldenChunk*>, bool> mixable_;
};

}  // namespace bitfall
