#include "regions.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <utility>

#include "last_bits.h"
#include "spatial.h"
#include "timer.h"
#include "window_calls.h"
#include "windows.h"

// A fault changes a few places of a map, and the next step can change only what its kernel reaches
// from there. So a trial is carried not as maps but as the boxes of them that may differ from
// golden:
//
//   the site's map          after a 3x3 convolution      after one of stride 2
//   . . . . . . . .           . . . . . . . .                . # # #
//   . . . . . . . .           . . . # # # . .                . # # #
//   . . . . x . . .     ->    . . . # # # . .       ->       . # # #
//   . . . . . . . .           . . . # # # . .
//   . . . . . . . .           . . . . . . . .
//   . . . . . . . .           . . . . . . . .
//
// A pack is many trials of one site, one per row. For each value that they have damaged it holds a
// window: a tensor [rows, C, h, w] whose rows are cut out around their trials' boxes, all of one
// size, with golden values where a box is smaller. A step runs on the windows of its operands with
// as much golden around them as its kernel asks for. The walk of a pack ends at a step that is not
// spatial, or where windows no longer pay; what its boxes then hold is the trials' damage.
namespace bitfall {
namespace {

// Trials that are carried together. Rows beyond the trials repeat them, so that few different
// shapes occur.
struct Pack {
  std::vector<Flight*> trials;
  std::int64_t rows = 0;
  std::map<int, Window> live;  // by slot

  std::vector<WindowPlace> places() const {  // by row
    std::vector<WindowPlace> places;
    for (std::int64_t row = 0; row < rows; ++row) {
      const Flight& one = *trials[static_cast<std::size_t>(row) % trials.size()];
      places.push_back({one.golden, one.row});
    }
    return places;
  }
};

// A trial and around what it changes at its site.
using Boxed = std::pair<Flight*, Box>;

// Enough to make little of what a call costs, and not too much for the caches.
std::int64_t most_rows(const at::Tensor& map) {
  constexpr std::int64_t kFloats = std::int64_t{16} << 20;
  const std::int64_t fit = kFloats * map.size(0) / std::max<std::int64_t>(map.numel(), 1);
  std::int64_t rows = 16;
  while (rows < 128 && rows * 2 <= fit) rows *= 2;
  return rows;
}

std::int64_t rows_for(std::size_t trials) {
  std::int64_t rows = 8;
  while (rows < static_cast<std::int64_t>(trials)) rows *= 2;
  return rows;
}

// Before windows of a step were timed, a place of them is thought to cost so much more than one of
// a whole map; and windows of a shape that has to be tried first, so much more than those known.
constexpr double kUsually = 1.5, kTried = 1.5;

// Windows that cover three quarters of a map, with what lies around them, save next to nothing.
bool too_large(const Spatial& how, std::int64_t places, const at::Tensor& whole) {
  return !how.local() && places * 4 > whole.size(2) * whole.size(3) * 3;
}

}  // namespace

struct Regions::State {
  const EmulatedModel& model;
  const Program& program;
  const StepCosts& step_costs;
  std::vector<std::optional<Spatial>> steps;

  WindowWays& ways;
  std::map<int, int> calls;  // by step, as WindowWays numbers them

  State(const EmulatedModel& m, const StepCosts& c, WindowWays& w)
      : model(m),
        program(m.model().program()),
        step_costs(c),
        steps(spatial_steps(m.model())),
        ways(w) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const int site = model.site_of_step(static_cast<int>(i));
      if (site < 0 || model.elementwise(site) || !steps[i]) continue;
      if (steps[i]->list) steps[i - 1].reset();  // what makes the list
      steps[i].reset();
    }
  }

  std::int64_t batch() const { return model.model().batch(); }
  bool usable(std::int32_t site, const GoldenChunk& golden) const;
  std::optional<Box> changed_box(std::int32_t site, const Flight& one) const;
  Pack start(std::int32_t site, std::span<const Boxed> trials) const;
  std::vector<c10::IValue> operands(int step, const Pack& pack,
                                    const std::vector<WindowPlace>& places, const Origins& origins,
                                    std::int64_t h, std::int64_t w, bool golden) const;
  int call_of(int step, const GoldenChunk& golden);
  std::optional<WindowWay> find_way(int step, const Pack& pack, std::int64_t h, std::int64_t w,
                                    WindowWay::Kernel likely) const;
  bool makes_maps(int step, const GoldenChunk& golden) const;
  template <typename Live>
  bool reads(const Step& what, const std::optional<Spatial>& how, const Live& live) const;
  template <typename Live>
  void drop_read(Live& live, int step) const;
  int plan(const Pack& pack, int from, int limit);
  bool apply(int step, Pack& pack, EngineCosts& costs);
  void drop_dead(Pack& pack, const Died& died, EngineCosts& costs);
  int walk(Pack& pack, int from, int limit, const Died& died, EngineCosts& costs);
  void unpack(const Pack& pack) const;
  void carry(std::int32_t site, std::span<const Boxed> trials, const Died& died,
             std::map<int, std::vector<Flight*>>& left, EngineCosts& costs);
};

Regions::Regions(const EmulatedModel& model, const StepCosts& step_costs, WindowWays& ways)
    : state_(std::make_unique<State>(model, step_costs, ways)) {}

Regions::~Regions() = default;

bool Regions::State::usable(std::int32_t site, const GoldenChunk& golden) const {
  const int slot = model.model().slots(site)[0];
  return !program.writes_in_place() && model.model().images(slot).plain() &&
         is_map(golden.tensor(slot), batch()) && !model.on_device(golden.tensor(slot)) &&
         golden.to() > model.model().first_step(site);
}

// Around all that a fault changes; nothing if that is too much of the map.
std::optional<Box> Regions::State::changed_box(std::int32_t site, const Flight& one) const {
  const at::Tensor& map = one.golden->tensor(model.model().slots(site)[0]);
  const std::int64_t height = map.size(2), width = map.size(3);
  Box box;
  for (const Change& change : one.injection.changes) {
    const std::int64_t y = change.element / width % height, x = change.element % width;
    box.include({y, x, y + 1, x + 1});
    if (box.area() * 2 > height * width) return std::nullopt;
  }
  return box;
}

Pack Regions::State::start(std::int32_t site, std::span<const Boxed> trials) const {
  const int slot = model.model().slots(site)[0];
  Pack pack;
  Window window;
  for (const auto& [flight, box] : trials) {
    pack.trials.push_back(flight);
    window.boxes.push_back(box);
  }
  pack.rows = rows_for(pack.trials.size());
  const at::Tensor& map = pack.trials[0]->golden->tensor(slot);
  const std::int64_t channels = map.size(1), height = map.size(2), width = map.size(3);
  const auto [h, w] = largest(window.boxes);
  window.origins = around(window.boxes, pack.rows, h, w, height, width);
  window.values = cut_windows(slot, pack.places(), nullptr, window.origins, h, w, 0);
  float* data = window.values.data_ptr<float>();
  for (std::size_t i = 0; i < pack.trials.size(); ++i) {
    for (const Change& change : pack.trials[i]->injection.changes) {
      const std::int64_t c = change.element / (height * width);
      const std::int64_t y = change.element / width % height - window.origins.top[i];
      const std::int64_t x = change.element % width - window.origins.left[i];
      data[((static_cast<std::int64_t>(i) * channels + c) * h + y) * w + x] = change.value;
    }
  }
  pack.live.emplace(slot, std::move(window));
  return pack;
}

// The operands of a step for windows h x w of its result at `origins`; without damage if `golden`.
std::vector<c10::IValue> Regions::State::operands(int step, const Pack& pack,
                                                  const std::vector<WindowPlace>& places,
                                                  const Origins& origins, std::int64_t h,
                                                  std::int64_t w, bool golden) const {
  const Spatial& how = *steps[static_cast<std::size_t>(step)];
  Origins wanted = origins;
  for (auto& top : wanted.top) top = how.first_needed(0, top);
  for (auto& left : wanted.left) left = how.first_needed(1, left);
  const std::int64_t wanted_h = how.needed(0, h), wanted_w = how.needed(1, w);
  const auto map = [&](int slot) {
    const auto found = pack.live.find(slot);
    const Window* damaged = golden || found == pack.live.end() ? nullptr : &found->second;
    return cut_windows(slot, places, damaged, wanted, wanted_h, wanted_w, how.fill);
  };
  const Step& what = program.steps()[static_cast<std::size_t>(step)];
  const Slots& slots = places[0].golden->slots();
  std::vector<c10::IValue> given;
  for (const int slot : what.inputs) {
    const bool one = std::find(how.maps.begin(), how.maps.end(), slot) != how.maps.end();
    given.push_back(one ? c10::IValue(map(slot)) : slots[static_cast<std::size_t>(slot)]);
  }
  if (how.list) {
    c10::List<at::Tensor> list;
    for (const int slot : how.maps) list.push_back(map(slot));
    given[0] = list;
  }
  for (const auto& [index, value] : how.on_windows) given[index] = value;
  return given;
}

int Regions::State::call_of(int step, const GoldenChunk& golden) {
  const auto known = calls.find(step);
  if (known != calls.end()) return known->second;
  const Step& what = program.steps()[static_cast<std::size_t>(step)];
  std::string text = describe_call(what, golden.slots(), golden.tensor(what.output));
  // Values that are nearly all zero do not show how they are summed: what is found with them is of
  // this step alone.
  const Spatial& how = *steps[static_cast<std::size_t>(step)];
  const at::Tensor image = golden.tensor(how.maps[0])[0];
  if (how.convolution && image.count_nonzero().item<std::int64_t>() * 8 < image.numel()) {
    text += " step " + std::to_string(step);
  }
  return calls[step] = ways.call(text);
}

// Tried on golden windows against golden's own result: all over the maps, and so many that some
// show another order of summation, though a sum may be of few numbers, and these of zeros.
std::optional<WindowWay> Regions::State::find_way(int step, const Pack& pack, std::int64_t h,
                                                  std::int64_t w, WindowWay::Kernel likely) const {
  constexpr std::int64_t kEnough = 1024, kMostRounds = 16;
  const GoldenChunk& golden = *pack.trials[0]->golden;
  const Step& what = program.steps()[static_cast<std::size_t>(step)];
  const Spatial& how = *steps[static_cast<std::size_t>(step)];
  // Golden's value has been through its format, which may hide a difference.
  const int site = model.site_of_step(step);
  at::Tensor whole = golden.tensor(what.output);
  if (site >= 0 && !model.formats().of(site).exact()) {
    std::vector<c10::IValue> given;
    for (const int slot : what.inputs)
      given.push_back(golden.slots()[static_cast<std::size_t>(slot)]);
    whole = program.call(step, std::move(given)).toTensor();
  }
  struct Round {
    std::vector<c10::IValue> given;
    at::Tensor expected;
  };
  const std::int64_t numbers = std::max<std::int64_t>(1, pack.rows * whole.size(1) * h * w);
  if (varies_by_place(what.function, whole.numel()) || varies_by_place(what.function, numbers)) {
    return std::nullopt;
  }
  const std::int64_t wanted = std::clamp<std::int64_t>(kEnough / numbers, 1, kMostRounds);
  std::vector<Round> rounds;
  std::minstd_rand random;
  const auto below = [&](std::int64_t count) {
    return static_cast<std::int64_t>(random()) % count;
  };
  for (std::int64_t round = 0; round < wanted; ++round) {
    std::vector<WindowPlace> places;
    Origins origins;
    at::Tensor expected = at::empty({pack.rows, whole.size(1), h, w}, at::kFloat);
    for (std::int64_t row = 0; row < pack.rows; ++row) {
      places.push_back({&golden, (round * pack.rows + row) % batch()});
      origins.top.push_back(below(whole.size(2) - h + 1));
      origins.left.push_back(below(whole.size(3) - w + 1));
      cut_out(whole, places.back().row, origins.top.back(), origins.left.back(), h, w, 0,
              expected.data_ptr<float>() + row * whole.size(1) * h * w);
    }
    rounds.push_back({operands(step, pack, places, origins, h, w, true), std::move(expected)});
  }
  for (const WindowWay& way : ways_to_try(how, likely)) {
    if (std::all_of(rounds.begin(), rounds.end(), [&](const Round& one) {
          return same_bits(call_on_windows(program, step, how, one.given, way, whole),
                           one.expected);
        })) {
      return way;
    }
  }
  return std::nullopt;
}

// Whether a step reads what is damaged. `live`: by slot.
template <typename Live>
bool Regions::State::reads(const Step& what, const std::optional<Spatial>& how,
                           const Live& live) const {
  const auto& read = how && how->list ? how->maps : what.reads;
  return std::any_of(read.begin(), read.end(), [&](int slot) { return live.count(slot) > 0; });
}

// Drops what no step after this one reads.
template <typename Live>
void Regions::State::drop_read(Live& live, int step) const {
  std::erase_if(live, [&](const auto& entry) {
    return program.lifetimes()[static_cast<std::size_t>(entry.first)].last <= step;
  });
}

// Whether a step makes maps of maps, and stretches none over another.
bool Regions::State::makes_maps(int step, const GoldenChunk& golden) const {
  const Spatial& how = *steps[static_cast<std::size_t>(step)];
  const at::Tensor& whole = golden.tensor(program.steps()[static_cast<std::size_t>(step)].output);
  return is_map(whole, batch()) && std::all_of(how.maps.begin(), how.maps.end(), [&](int slot) {
           const at::Tensor& map = golden.tensor(slot);
           return is_map(map, batch()) &&
                  (!how.local() || map.sizes().slice(2) == whole.sizes().slice(2));
         });
}

// Runs one step on the pack's windows. False, and nothing done, where that cannot be or does not
// pay.
bool Regions::State::apply(int step, Pack& pack, EngineCosts& costs) {
  const Spatial& how = *steps[static_cast<std::size_t>(step)];
  const Step& what = program.steps()[static_cast<std::size_t>(step)];
  const GoldenChunk& golden = *pack.trials[0]->golden;
  if (!makes_maps(step, golden)) return false;
  const at::Tensor& whole = golden.tensor(what.output);
  const std::int64_t height = whole.size(2), width = whole.size(3);
  Window made;
  made.boxes.resize(pack.trials.size());
  for (const int slot : how.maps) {
    const auto damaged = pack.live.find(slot);
    if (damaged == pack.live.end()) continue;
    for (std::size_t i = 0; i < pack.trials.size(); ++i) {
      made.boxes[i].include(reached(how, damaged->second.boxes[i], height, width));
    }
  }
  const auto [h, w] = largest(made.boxes);
  if (h == 0) return true;  // read by no place of the result
  if (too_large(how, h * w, whole)) return false;
  made.origins = around(made.boxes, pack.rows, h, w, height, width);
  const int call = call_of(step, golden);
  const WindowWays::Kind kind{call, pack.rows, h, w};
  auto known = ways.find(kind);
  if (!known) {
    known = find_way(step, pack, h, w, ways.likely(call));
    ways.note(kind, *known);
    if (!*known) ++costs.refused;
  }
  if (!*known) return false;
  const auto begin = Clock::now();
  const auto places = pack.places();
  made.values = call_on_windows(
      program, step, how, operands(step, pack, places, made.origins, h, w, false), **known, whole);
  const int site = model.site_of_step(step);
  if (site >= 0 && !model.formats().of(site).exact()) {
    for (const auto& [_, window] : pack.live) {
      if (window.values.is_alias_of(made.values)) made.values = made.values.clone();
    }
    RowImages images;
    for (std::size_t i = 0; i < places.size(); ++i) {
      const WindowPlace& place = places[i];
      images.push_back(place.golden->images()[static_cast<std::size_t>(place.row)]);
      images.marks.push_back(&pack.trials[i % pack.trials.size()]->detected);
    }
    model.emulate_windows(site, made.values, made.origins, images, costs.emulation_s);
  }
  ways.took(call, seconds_since(begin), pack.rows * h * w);
  pack.live.insert_or_assign(what.output, std::move(made));
  return true;
}

// Finds what damage is left; trials without any are done.
void Regions::State::drop_dead(Pack& pack, const Died& died, EngineCosts& costs) {
  const std::size_t count = pack.trials.size();
  for (auto& [slot, window] : pack.live) {
    at::parallel_for(0, static_cast<std::int64_t>(count), 4,
                     [&, &window = window, slot = slot](std::int64_t begin, std::int64_t end) {
                       for (std::int64_t i = begin; i < end; ++i) {
                         const Flight& one = *pack.trials[static_cast<std::size_t>(i)];
                         Box& box = window.boxes[static_cast<std::size_t>(i)];
                         box = tightened(window, i, box, one.golden->tensor(slot), one.row);
                       }
                     });
  }
  std::vector<std::int64_t> left;
  for (std::size_t i = 0; i < count; ++i) {
    const bool alive = std::any_of(pack.live.begin(), pack.live.end(), [&](const auto& entry) {
      return !entry.second.boxes[i].empty();
    });
    if (alive) {
      left.push_back(static_cast<std::int64_t>(i));
    } else {
      ++costs.died_in_regions;
      died(*pack.trials[i]);
    }
  }
  if (left.size() == count) return;
  std::vector<Flight*> trials;
  for (const std::int64_t i : left) trials.push_back(pack.trials[static_cast<std::size_t>(i)]);
  if (left.empty()) {
    pack.trials.clear();
    pack.live.clear();
    return;
  }
  const std::int64_t rows = rows_for(left.size());
  std::vector<std::int64_t> taken_rows;
  for (std::int64_t row = 0; row < rows; ++row) {
    taken_rows.push_back(left[static_cast<std::size_t>(row) % left.size()]);
  }
  const at::Tensor index = at::tensor(taken_rows, at::kLong);
  for (auto& [slot, window] : pack.live) {
    Window kept;
    for (const std::int64_t i : left)
      kept.boxes.push_back(window.boxes[static_cast<std::size_t>(i)]);
    for (const std::int64_t row : taken_rows) {
      kept.origins.top.push_back(window.origins.top[static_cast<std::size_t>(row)]);
      kept.origins.left.push_back(window.origins.left[static_cast<std::size_t>(row)]);
    }
    kept.values = window.values.index_select(0, index);
    window = std::move(kept);
  }
  pack.trials = std::move(trials);
  pack.rows = rows;
}

// Carries a pack; returns the step that it stands at.
int Regions::State::walk(Pack& pack, int from, int limit, const Died& died, EngineCosts& costs) {
  int stop = from;
  for (int step = from; step < limit; ++step) {
    const Step& what = program.steps()[static_cast<std::size_t>(step)];
    const auto& how = steps[static_cast<std::size_t>(step)];
    if (!reads(what, how, pack.live)) continue;
    if (!how) return step;
    // A list is made and taken in one go.
    if (how->collects) {
      if (step + 1 >= limit) return step;
      continue;
    }
    if (how->convolution) {
      drop_dead(pack, died, costs);
      if (pack.trials.empty()) return step;
    }
    // What was dropped may have moved the end.
    if (step >= stop) stop = plan(pack, step, limit);
    if (step >= stop || !apply(step, pack, costs)) return how->list ? step - 1 : step;
    drop_read(pack.live, step);
  }
  return limit;
}

// The step up to which windows are expected to save the most, by what they took so far.
int Regions::State::plan(const Pack& pack, int from, int limit) {
  const GoldenChunk& golden = *pack.trials[0]->golden;
  std::map<int, Box> live;  // of one trial in the middle of the maps that has the largest boxes
  for (const auto& [slot, window] : pack.live) {
    const auto [h, w] = largest(window.boxes);
    const at::Tensor& map = golden.tensor(slot);
    const std::int64_t top = (map.size(2) - h) / 2, left = (map.size(3) - w) / 2;
    live[slot] = {top, left, top + h, left + w};
  }
  double saved = 0, most = 0;
  int stop = from;
  for (int step = from; step < limit; ++step) {
    const Step& what = program.steps()[static_cast<std::size_t>(step)];
    const auto& how = steps[static_cast<std::size_t>(step)];
    if (!reads(what, how, live)) continue;
    if (!how) break;
    if (how->collects) continue;
    if (!makes_maps(step, golden)) break;
    const at::Tensor& map = golden.tensor(what.output);
    Box made;
    for (const int slot : how->maps) {
      const auto damaged = live.find(slot);
      if (damaged == live.end()) continue;
      made.include(reached(*how, damaged->second, map.size(2), map.size(3)));
    }
    if (too_large(*how, made.area(), map)) break;
    if (!made.empty()) {
      const int call = call_of(step, golden);
      const auto way = ways.find({call, pack.rows, made.height(), made.width()});
      if (way && !*way) break;
      const double whole = step_costs.seconds[static_cast<std::size_t>(step)];
      const double places = static_cast<double>(batch() * map.size(2) * map.size(3));
      const auto timed = ways.seconds_a_place(call);
      double each = timed ? *timed : kUsually * whole / places;
      if (how->convolution && !way) each *= kTried;
      saved += whole / static_cast<double>(batch()) * static_cast<double>(pack.trials.size()) -
               each * static_cast<double>(pack.rows * made.area());
      if (saved >= most) {
        most = saved;
        stop = step + 1;
      }
      live[what.output] = made;
    }
    drop_read(live, step);
  }
  return stop;
}

// What a pack that stands at a step holds, as its trials' damage.
void Regions::State::unpack(const Pack& pack) const {
  for (std::size_t i = 0; i < pack.trials.size(); ++i) {
    for (const auto& [slot, window] : pack.live) {
      const Box& box = window.boxes[i];
      if (box.empty()) continue;
      const at::Tensor part = window.values[static_cast<std::int64_t>(i)]
                                  .narrow(1, box.top - window.origins.top[i], box.height())
                                  .narrow(2, box.left - window.origins.left[i], box.width());
      pack.trials[i]->damage.push_back({slot, false, box.top, box.left, part.clone()});
    }
  }
}

// Carries some trials together; those that are left end in `left`.
void Regions::State::carry(std::int32_t site, std::span<const Boxed> trials, const Died& died,
                           std::map<int, std::vector<Flight*>>& left, EngineCosts& costs) {
  const int from = model.model().first_step(site);
  int limit = static_cast<int>(steps.size());
  for (const auto& [flight, _] : trials) limit = std::min(limit, flight->golden->to());
  costs.carried += static_cast<std::int64_t>(trials.size());
  Pack pack = start(site, trials);
  const int step = walk(pack, from, limit, died, costs);
  if (!pack.trials.empty()) drop_dead(pack, died, costs);
  if (step > from) unpack(pack);
  auto& here = left[step];
  here.insert(here.end(), pack.trials.begin(), pack.trials.end());
}

std::map<int, std::vector<Flight*>> Regions::carry(std::int32_t site,
                                                   std::span<Flight* const> flights,
                                                   const Died& died, EngineCosts& costs) {
  State& state = *state_;
  const int from = state.model.model().first_step(site);
  std::map<int, std::vector<Flight*>> left;
  std::vector<Boxed> carried;
  for (Flight* one : flights) {
    std::optional<Box> box;
    if (state.usable(site, *one->golden)) box = state.changed_box(site, *one);
    if (box) {
      carried.emplace_back(one, *box);
    } else {
      left[from].push_back(one);
    }
  }
  std::stable_sort(carried.begin(), carried.end(), [](const Boxed& a, const Boxed& b) {
    return a.second.area() < b.second.area();
  });
  const PartTimer timer(costs.regions_s, costs);
  const int slot = state.model.model().slots(site)[0];
  for (std::span<const Boxed> rest(carried); !rest.empty();) {
    const auto most = static_cast<std::size_t>(most_rows(rest[0].first->golden->tensor(slot)));
    const std::size_t count = std::min(most, rest.size());
    state.carry(site, rest.first(count), died, left, costs);
    rest = rest.subspan(count);
  }
  return left;
}

}  // namespace bitfall
