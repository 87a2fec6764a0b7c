// Whole passes: runs trials from a cut of the network to its end, one per image row, trials of
// several sites and chunks together where that gives the same bits.
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
  /// Of a flight that will be taken up after run() has returned: where it is then. Empty: none may.
  std::function<Flight*(Flight&)> keep;
  const std::atomic<bool>& stop;
  EngineCosts& costs;
};

class Passes {
 public:
  /// Borrows the model. `early_stop`: finish trials whose damage is gone before an expensive step
  /// and pack those left again. `waiting_bytes`: memory for trials that wait at such a step.
  Passes(const EmulatedModel& model, bool early_stop, std::int64_t waiting_bytes);

  /// Runs flights that stand at `step`. Those without damage stand at the first step after `site`.
  /// Those that do not fill a pass wait at a cut at or behind `others`, the step at which further
  /// ones may come to stand; Program's count of steps and more: none will.
  /// Stops early if `report.stop` becomes true.
  void run(std::int32_t site, int step, std::vector<Flight*> flights, int others,
           const PassReport& report);

  /// Runs what waits before `others`: by then golden values ahead of it may go.
  void run_waiting(int others, const PassReport& report);

  /// The oracle: whole networks from the image, the fault put in on the way.
  void run_whole(std::int32_t site, std::vector<Flight*> flights, const PassReport& report);

  /// Forgets what it knows of golden chunks, and what waits, before they go.
  void new_group() {
    waiting_.clear();
    mixable_.clear();
    golden_rows_.set_chunks({});
  }
  /// Those of the group, from which images come.
  void set_chunks(const std::vector<const GoldenChunk*>& chunks) {
    golden_rows_.set_chunks(chunks);
  }

 private:
  /// A trial's place in a pass.
  struct BatchPlace {
    Flight* flight = nullptr;
    std::int64_t row = 0;  // of the pass
  };
  using Pass = std::vector<BatchPlace>;
  /// Trials that came to cuts, and that ended there.
  struct Deaths {
    std::int64_t met = 0, died = 0;
    void add(const Deaths& other) {
      met += other.met;
      died += other.died;
    }
    /// So often that fewer passes are left to run.
    bool pay() const { return died * 10 >= met; }
  };
  /// Trials that wait at a cut to be packed into fewer passes.
  struct Waiting {
    std::vector<Flight*> flights;
    std::int64_t bytes = 0;  // of their damage
    Deaths deaths;
  };
  /// A cut; and on a device the slots that differ from golden, the same for all that wait there.
  using Place = std::pair<int, std::vector<int>>;
  /// When passes stop before the next expensive step, to see which trials are left.
  enum class Look { kNever, kWhileItPays, kAlways };
  /// What holds for the passes that run() or run_waiting() makes.
  struct Course {
    std::int32_t site = -1;  // at which flights without damage are hit
    int others = 0;
    Look look = Look::kNever;
    Deaths deaths = {};  // of such trials, so far

    bool looks() const {
      // Nobody knows whether it pays until some trials have come by.
      return look == Look::kAlways ||
             (look == Look::kWhileItPays && (deaths.met < 16 || deaths.pay()));
    }
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
  std::vector<int> cuts_from(int step) const;
  std::vector<int> cuts_of(int from, const Pass& pass, const Course& course,
                           const PassReport& report) const;
  std::optional<std::vector<int>> run_to_cut(std::int32_t site, int from, const Pass& pass,
                                             std::span<const int> cuts, Slots& slots, int& at,
                                             EngineCosts& costs) const;
  Deaths wait(const Pass& pass, const Slots& slots, int cut, const std::vector<int>& changed,
              const PassReport& report);
  void wait_here(const Pass& pass, int cut, const PassReport& report);
  static void put_together(std::span<Flight* const> flights);
  void run_place(std::map<Place, Waiting>::iterator place, int others, const PassReport& report);
  void bound_waiting(int others, const PassReport& report);
  void run_passes(int from, const std::vector<Pass>& passes, Course course,
                  const PassReport& report);
  void run_pass(int from, const Pass& pass, Course& course, const PassReport& report);
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
  std::map<Place, Waiting> waiting_;
  std::map<int, bool> movable_;  // by cut
  /// Whether all that lives at a cut, besides images' own values, is equal in two chunks.
  std::map<std::tuple<int, const GoldenChunk*, const GoldenChunk*>, bool> mixable_;
};

}  // namespace bitfall
