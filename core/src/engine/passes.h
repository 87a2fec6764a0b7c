// Whole passes: runs trials from a cut of the network to its end, one per image row, trials of
// several chunks together where that gives the same bits.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "engine_costs.h"
#include "flight.h"
#include "golden_rows.h"
#include "outcome.h"

namespace bitfall {

/// Where the time goes; next to it the other steps of a network cost little.
bool is_expensive(const Step& step);

/// What passes tell while they run, and what they heed.
struct PassReport {
  std::function<void(const Flight&, std::span<const float> logits)> done;
  std::function<void(const Flight&, Outcome outcome, const std::string& message)> failed;
  std::function<void()> begin;  // before each pass
  const std::atomic<bool>& stop;
  EngineCosts& costs;
};

class Passes {
 public:
  /// Borrows the model. `early_stop`: finish trials whose damage is gone before an expensive step
  /// and pack those left again. `waiting_bytes`: memory for trials that wait at such a step.
  Passes(const EmulatedModel& model, bool early_stop, std::int64_t waiting_bytes);

  /// Runs flights that stand at `step`. Those without damage stand at the first step after `site`.
  /// Stops early if `report.stop` becomes true.
  void run(std::int32_t site, int step, std::vector<Flight*> flights, const PassReport& report);

  /// The oracle: whole networks from the image, the fault put in on the way.
  void run_whole(std::int32_t site, std::vector<Flight*> flights, const PassReport& report);

  /// Forgets what it knows of golden chunks, before they go.
  void new_group() {
    mixable_.clear();
    golden_rows_.set_chunks({});
  }

 private:
  /// A trial's place in a pass.
  struct BatchPlace {
    Flight* flight = nullptr;
    std::int64_t row = 0;  // of the pass
  };
  using Pass = std::vector<BatchPlace>;
  /// Trials that wait at a cut to be packed into fewer passes.
  struct Waiting {
    int cut = 0;
    std::vector<int> changed;  // the slots that differ from golden
    std::vector<Flight*> flights;
    std::int64_t bytes = 0;          // of their damage
    std::int64_t met = 0, died = 0;  // trials that came to cuts, and that ended there
  };

  std::int64_t batch() const { return model_.model().batch(); }
  int steps() const { return static_cast<int>(program_.steps().size()); }
  bool movable(int cut);
  bool alike(int cut, const GoldenChunk& a, const GoldenChunk& b);
  std::vector<Pass> pack(int cut, std::vector<Flight*> flights);
  std::vector<Pass> pack_at_home(std::vector<Flight*> flights) const;
  std::vector<Pass> pack_weights(std::vector<Flight*> flights) const;
  RowImages images_of(const Pass& pass) const;
  bool at_home(const Pass& pass) const;
  at::Tensor numbers_of(const Pass& pass) const;
  Slots table(int cut, const Pass& pass, std::vector<bool>& own);
  Slots at_cut(std::int32_t site, int cut, const Pass& pass);
  void put_back(const Pass& pass, const std::function<const at::Tensor&(int slot)>& owned) const;
  void put_in(std::int32_t site, const Pass& pass, Slots& slots, std::vector<bool>& own) const;
  std::optional<std::vector<int>> changed_slots(std::int32_t site, const Slots& slots, int from,
                                                int cut, const Pass& pass) const;
  std::vector<bool> alive(int cut, const Slots& slots, std::span<const int> changed,
                          const Pass& pass);
  bool differs(const Slots& slots, std::span<const int> changed, const BatchPlace& place) const;
  void finish(std::span<const BatchPlace> pass, const Slots& slots, const PassReport& report) const;
  std::vector<int> cuts_after(int step) const;
  std::optional<std::vector<int>> run_to_cut(std::int32_t site, int from, const Pass& pass,
                                             std::span<const int> cuts, Slots& slots, int& at,
                                             EngineCosts& costs) const;
  void wait(const Pass& pass, const Slots& slots, Waiting& waiting, const PassReport& report);
  static void put_together(std::span<Flight* const> flights);
  void run_waiting(std::int32_t site, std::size_t passes, Waiting& waiting,
                   const PassReport& report);
  void run_passes(std::int32_t site, int from, const std::vector<Pass>& passes, bool look,
                  const PassReport& report);
  void run_pass(std::int32_t site, int from, const Pass& pass, std::size_t passes,
                std::span<const int> cuts, Waiting& waiting, const PassReport& report);
  void run_faulty(Slots& slots, int from, int to, const RowImages& images,
                  EngineCosts& costs) const;
  void run_apart(std::int32_t site, int from, std::span<const BatchPlace> trials,
                 const PassReport& report);
  void run_whole_pass(std::int32_t site, const Pass& pass, const at::Tensor& input,
                      const RowImages& images, const PassReport& report) const;
  at::Tensor answer(const Slots& slots) const;

  const EmulatedModel& model_;
  const Program& program_;
  bool early_stop_;
  std::int64_t waiting_bytes_;
  GoldenRows golden_rows_;
  std::map<int, bool> movable_;  // by cut
  /// Whether all that lives at a cut, besides images' own values, is equal in two chunks.
  std::map<std::tuple<int, const GoldenChunk*, const GoldenChunk*>, bool> mixable_;
};

}  // namespace bitfall
