#include "regions.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "spatial.h"
#include "timer.h"

namespace bitfall {
namespace {

// Half-open.
struct Box {
  std::int64_t top = 0, left = 0, bottom = 0, right = 0;

  bool empty() const { return top >= bottom || left >= right; }
  std::int64_t height() const { return bottom - top; }
  std::int64_t width() const { return right - left; }
  void include(const Box& other) {
    if (other.empty()) return;
    if (empty()) {
      *this = other;
      return;
    }
    top = std::min(top, other.top);
    left = std::min(left, other.left);
    bottom = std::max(bottom, other.bottom);
    right = std::max(right, other.right);
  }
};

// Where a row of a pack takes its golden values from.
struct Seat {
  const GoldenChunk* golden = nullptr;
  std::int64_t row = 0;
};

// One value of all trials of a pack, as far as faults can have reached it.
struct Window {
  std::vector<Box> boxes;  // by trial: what may differ from golden; inside its row's window
  Origins origins;         // by row
  at::Tensor values;       // [rows, C, h, w], contiguous
  std::int64_t height() const { return values.size(2); }
  std::int64_t width() const { return values.size(3); }
};

// Trials that are carried together. Rows beyond the trials repeat them, so that few different
// shapes occur.
struct Pack {
  std::vector<const Ready*> trials;
  std::int64_t rows = 0;
  std::map<int, Window> live;  // by slot

  const Ready& of_row(std::int64_t row) const {
    return *trials[static_cast<std::size_t>(row) % trials.size()];
  }
  std::vector<Seat> seats() const {
    std::vector<Seat> seats;
    for (std::int64_t row = 0; row < rows; ++row) {
      seats.push_back({of_row(row).golden, of_row(row).row});
    }
    return seats;
  }
};

// A trial and what it changes at its site.
struct Hit {
  const Ready* trial = nullptr;
  Box box;
};

// Height and width that hold each of the boxes.
std::pair<std::int64_t, std::int64_t> largest(const std::vector<Box>& boxes) {
  std::int64_t h = 0, w = 0;
  for (const Box& box : boxes) {
    if (box.empty()) continue;
    h = std::max(h, box.height());
    w = std::max(w, box.width());
  }
  return {h, w};
}

// Windows h x w around the boxes, inside a map; rows beyond the boxes repeat them.
Origins around(const std::vector<Box>& boxes, std::int64_t rows, std::int64_t h, std::int64_t w,
               std::int64_t height, std::int64_t width) {
  Origins origins;
  for (std::int64_t row = 0; row < rows; ++row) {
    const Box& box = boxes[static_cast<std::size_t>(row) % boxes.size()];
    origins.top.push_back(box.empty() ? 0 : std::min(box.top, height - h));
    origins.left.push_back(box.empty() ? 0 : std::min(box.left, width - w));
  }
  return origins;
}

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

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return a >= 0 ? (a + b - 1) / b : -(-a / b);
}
std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

// The part of a result of `height` x `width` that can depend on `box` of an operand.
Box reached(const Spatial& step, const Box& box, std::int64_t height, std::int64_t width) {
  if (box.empty()) return {};
  const auto first = [&](std::size_t axis, std::int64_t begin) {
    const std::int64_t span = (step.kernel[axis] - 1) * step.dilation[axis];
    return std::max<std::int64_t>(0,
                                  ceil_div(begin + step.padding[axis] - span, step.stride[axis]));
  };
  const auto end = [&](std::size_t axis, std::int64_t stop, std::int64_t size) {
    return std::min(size, floor_div(stop - 1 + step.padding[axis], step.stride[axis]) + 1);
  };
  return {first(0, box.top), first(1, box.left), end(0, box.bottom, height),
          end(1, box.right, width)};
}

bool is_map(const at::Tensor& value, std::int64_t batch) {
  return value.defined() && value.is_cpu() && value.scalar_type() == at::kFloat &&
         value.layout() == at::kStrided && value.dim() == 4 && value.size(0) == batch;
}

// Copies a window [C, h, w] out of one image of a map; `fill` stands beyond the border.
void cut_out(const at::Tensor& map, std::int64_t row, std::int64_t top, std::int64_t left,
             std::int64_t h, std::int64_t w, float fill, float* to) {
  const std::int64_t channels = map.size(1), height = map.size(2), width = map.size(3);
  const std::int64_t sc = map.stride(1), sy = map.stride(2), sx = map.stride(3);
  const float* from = map.const_data_ptr<float>() + row * map.stride(0);
  const std::int64_t x0 = std::clamp<std::int64_t>(-left, 0, w);
  const std::int64_t x1 = std::clamp<std::int64_t>(width - left, x0, w);
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t y = 0; y < h; ++y, to += w) {
      if (top + y < 0 || top + y >= height) {
        std::fill_n(to, w, fill);
        continue;
      }
      const float* line = from + c * sc + (top + y) * sy + left * sx;
      std::fill_n(to, x0, fill);
      if (sx == 1) {
        std::memcpy(to + x0, line + x0, static_cast<std::size_t>(x1 - x0) * sizeof(float));
      } else {
        for (std::int64_t x = x0; x < x1; ++x) to[x] = line[x * sx];
      }
      std::fill_n(to + x1, w - x1, fill);
    }
  }
}

}  // namespace

struct Regions::State {
  const EmulatedModel& model;
  const Program& program;
  const PassProfile& profile;
  std::vector<std::optional<Spatial>> steps;

  // How a step is run on windows of a shape so that it gives the bits of whole maps.
  enum class Way { kDirect, kTiled, kNone };
  using Kind = std::tuple<int, std::int64_t, std::int64_t, std::int64_t>;  // step, rows, h, w
  std::map<Kind, Way> ways;

  // Seconds a trial that a site's steps took on windows.
  struct Taken {
    double seconds = 0;
    std::int64_t trials = 0;
  };
  std::map<std::int32_t, std::map<int, Taken>> taken;
  std::map<std::int32_t, int> stops;  // by site: where windows no longer pay

  State(const EmulatedModel& m, const PassProfile& p)
      : model(m), program(m.model().program()), profile(p), steps(spatial_steps(m.model())) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const int site = model.hook(static_cast<int>(i));
      if (site < 0 || model.elementwise(site) || !steps[i]) continue;
      if (steps[i]->list) steps[i - 1].reset();  // what makes the list
      steps[i].reset();
    }
  }

  std::int64_t batch() const { return model.model().batch(); }
  bool usable(std::int32_t site, const GoldenChunk& golden) const;
  std::optional<Box> hit_box(std::int32_t site, const Ready& one) const;
  Pack start(std::int32_t site, std::span<const Hit> hits) const;
  at::Tensor windows(int slot, const std::vector<Seat>& seats, const Window* damaged,
                     const Origins& origins, std::int64_t h, std::int64_t w, float fill) const;
  std::vector<c10::IValue> operands(int step, const Pack& pack, const std::vector<Seat>& seats,
                                    const Origins& origins, std::int64_t h, std::int64_t w,
                                    bool golden) const;
  at::Tensor call(int step, std::vector<c10::IValue> operands, Way way, const Pack& pack,
                  std::int64_t h, std::int64_t w) const;
  Way way_of(int step, const Pack& pack, const Origins& origins, std::int64_t h, std::int64_t w,
             EngineCosts& costs);
  bool apply(int step, Pack& pack, EngineCosts& costs);
  void drop_dead(Pack& pack, const std::function<void(const Ready&)>& died, EngineCosts& costs);
  int walk(std::int32_t site, Pack& pack, int from, int limit,
           const std::function<void(const Ready&)>& died, EngineCosts& costs);
  void learn(std::int32_t site, int from);
};

Regions::Regions(const EmulatedModel& model, const PassProfile& profile)
    : state_(std::make_unique<State>(model, profile)) {}

Regions::~Regions() = default;

bool Regions::State::usable(std::int32_t site, const GoldenChunk& golden) const {
  const int slot = model.model().slots(site)[0];
  return !program.writes_in_place() && model.model().slabs(slot) == 1 &&
         is_map(golden.tensor(slot), batch()) && !model.on_device(golden.tensor(slot)) &&
         golden.to() > model.model().first_step(site);
}

// Around all that a fault changes; nothing if that is too much of the map.
std::optional<Box> Regions::State::hit_box(std::int32_t site, const Ready& one) const {
  const at::Tensor& map = one.golden->tensor(model.model().slots(site)[0]);
  const std::int64_t height = map.size(2), width = map.size(3);
  Box box;
  for (const Change& change : one.injection.changes) {
    const std::int64_t y = change.element / width % height, x = change.element % width;
    box.include({y, x, y + 1, x + 1});
    if (box.height() * box.width() * 2 > height * width) return std::nullopt;
  }
  return box;
}

Pack Regions::State::start(std::int32_t site, std::span<const Hit> hits) const {
  const int slot = model.model().slots(site)[0];
  Pack pack;
  Window window;
  for (const Hit& hit : hits) {
    pack.trials.push_back(hit.trial);
    window.boxes.push_back(hit.box);
  }
  pack.rows = rows_for(pack.trials.size());
  const at::Tensor& map = pack.trials[0]->golden->tensor(slot);
  const std::int64_t channels = map.size(1), height = map.size(2), width = map.size(3);
  const auto [h, w] = largest(window.boxes);
  window.origins = around(window.boxes, pack.rows, h, w, height, width);
  window.values = windows(slot, pack.seats(), nullptr, window.origins, h, w, 0);
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

// Windows of a slot's maps: golden values, and over them what is damaged.
at::Tensor Regions::State::windows(int slot, const std::vector<Seat>& seats, const Window* damaged,
                                   const Origins& origins, std::int64_t h, std::int64_t w,
                                   float fill) const {
  if (damaged && damaged->height() == h && damaged->width() == w &&
      damaged->origins.top == origins.top && damaged->origins.left == origins.left) {
    return damaged->values;
  }
  const auto rows = static_cast<std::int64_t>(seats.size());
  const std::int64_t channels = seats[0].golden->tensor(slot).size(1);
  at::Tensor made = at::empty({rows, channels, h, w}, at::kFloat);
  float* data = made.data_ptr<float>();
  at::parallel_for(0, rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const auto i = static_cast<std::size_t>(row);
      const std::int64_t top = origins.top[i], left = origins.left[i];
      float* to = data + row * channels * h * w;
      cut_out(seats[i].golden->tensor(slot), seats[i].row, top, left, h, w, fill, to);
      if (!damaged) continue;
      const std::int64_t dh = damaged->height(), dw = damaged->width();
      const float* from = damaged->values.const_data_ptr<float>() + row * channels * dh * dw;
      const std::int64_t dy = damaged->origins.top[i] - top, dx = damaged->origins.left[i] - left;
      const std::int64_t y0 = std::max<std::int64_t>(0, dy), y1 = std::min(h, dy + dh);
      const std::int64_t x0 = std::max<std::int64_t>(0, dx), x1 = std::min(w, dx + dw);
      if (x0 >= x1) continue;
      for (std::int64_t c = 0; c < channels; ++c) {
        for (std::int64_t y = y0; y < y1; ++y) {
          std::memcpy(to + (c * h + y) * w + x0, from + (c * dh + y - dy) * dw + x0 - dx,
                      static_cast<std::size_t>(x1 - x0) * sizeof(float));
        }
      }
    }
  });
  return made;
}

// The operands of a step for windows h x w of its result at `origins`; without damage if `golden`.
std::vector<c10::IValue> Regions::State::operands(int step, const Pack& pack,
                                                  const std::vector<Seat>& seats,
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
    return windows(slot, seats, damaged, wanted, wanted_h, wanted_w, how.fill);
  };
  const Step& what = program.steps()[static_cast<std::size_t>(step)];
  const Slots& slots = seats[0].golden->slots();
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

at::Tensor Regions::State::call(int step, std::vector<c10::IValue> given, Way way, const Pack& pack,
                                std::int64_t h, std::int64_t w) const {
  if (way == Way::kDirect) return program.call(step, std::move(given)).toTensor().contiguous();
  // LibTorch chooses how to sum over channels by the size of a map, so that places of many windows
  // are laid out as maps of the usual size.
  const Spatial& how = *steps[static_cast<std::size_t>(step)];
  const int slot = program.steps()[static_cast<std::size_t>(step)].output;
  const at::Tensor& whole = pack.trials[0]->golden->tensor(slot);
  const std::int64_t height = whole.size(2), width = whole.size(3), tile = height * width;
  const at::Tensor x = given[0]
                           .toTensor()
                           .slice(2, 0, std::nullopt, how.stride[0])
                           .slice(3, 0, std::nullopt, how.stride[1]);
  const std::int64_t rows = x.size(0), channels = x.size(1), places = rows * h * w;
  const std::int64_t tiles = (places + tile - 1) / tile;
  at::Tensor laid = at::zeros({channels, tiles * tile}, at::kFloat);
  laid.narrow(1, 0, places).copy_(x.permute({1, 0, 2, 3}).reshape({channels, places}));
  given[0] = laid.view({channels, tiles, height, width}).permute({1, 0, 2, 3}).contiguous();
  given[3] = c10::List<std::int64_t>({1, 1});
  const at::Tensor made = program.call(step, std::move(given)).toTensor();
  return made.permute({1, 0, 2, 3})
      .reshape({made.size(1), tiles * tile})
      .narrow(1, 0, places)
      .view({made.size(1), rows, h, w})
      .permute({1, 0, 2, 3})
      .contiguous();
}

// Tried on golden windows against golden's own result, once for each shape.
Regions::State::Way Regions::State::way_of(int step, const Pack& pack, const Origins& origins,
                                           std::int64_t h, std::int64_t w, EngineCosts& costs) {
  const Kind kind{step, pack.rows, h, w};
  const auto known = ways.find(kind);
  if (known != ways.end()) return known->second;
  const GoldenChunk& golden = *pack.trials[0]->golden;
  const Step& what = program.steps()[static_cast<std::size_t>(step)];
  const Spatial& how = *steps[static_cast<std::size_t>(step)];
  // Golden's value has been through its format, which may hide a difference.
  const int site = model.hook(step);
  at::Tensor whole = golden.tensor(what.output);
  if (site >= 0 && !model.formats().of(site).exact()) {
    std::vector<c10::IValue> given;
    for (const int slot : what.inputs)
      given.push_back(golden.slots()[static_cast<std::size_t>(slot)]);
    whole = program.call(step, std::move(given)).toTensor();
  }
  std::vector<Seat> seats;
  for (std::int64_t row = 0; row < pack.rows; ++row) seats.push_back({&golden, row % batch()});
  at::Tensor expected = at::empty({pack.rows, whole.size(1), h, w}, at::kFloat);
  for (std::int64_t row = 0; row < pack.rows; ++row) {
    const auto i = static_cast<std::size_t>(row);
    cut_out(whole, seats[i].row, origins.top[i], origins.left[i], h, w, 0,
            expected.data_ptr<float>() + row * whole.size(1) * h * w);
  }
  const auto given = operands(step, pack, seats, origins, h, w, true);
  Way way = Way::kNone;
  if (same_bits(call(step, given, Way::kDirect, pack, h, w), expected)) {
    way = Way::kDirect;
  } else if (how.pointwise && same_bits(call(step, given, Way::kTiled, pack, h, w), expected)) {
    way = Way::kTiled;
  } else {
    ++costs.refused;
  }
  ways[kind] = way;
  return way;
}

// Runs one step on the pack's windows. False, and nothing done, where that cannot be or does not
// pay.
bool Regions::State::apply(int step, Pack& pack, EngineCosts& costs) {
  const Spatial& how = *steps[static_cast<std::size_t>(step)];
  const Step& what = program.steps()[static_cast<std::size_t>(step)];
  const at::Tensor& whole = pack.trials[0]->golden->tensor(what.output);
  if (!is_map(whole, batch())) return false;
  const std::int64_t height = whole.size(2), width = whole.size(3);
  Window made;
  made.boxes.resize(pack.trials.size());
  for (const int slot : how.maps) {
    const at::Tensor& map = pack.trials[0]->golden->tensor(slot);
    if (!is_map(map, batch())) return false;
    // Nothing here is stretched over a map.
    if (how.local() && (map.size(2) != height || map.size(3) != width)) return false;
    const auto damaged = pack.live.find(slot);
    if (damaged == pack.live.end()) continue;
    for (std::size_t i = 0; i < pack.trials.size(); ++i) {
      made.boxes[i].include(reached(how, damaged->second.boxes[i], height, width));
    }
  }
  const auto [h, w] = largest(made.boxes);
  if (h == 0) return true;  // read by no place of the result
  if (!how.local() && h * w * 4 > height * width * 3) return false;
  made.origins = around(made.boxes, pack.rows, h, w, height, width);
  const Way way = way_of(step, pack, made.origins, h, w, costs);
  if (way == Way::kNone) return false;
  const auto seats = pack.seats();
  made.values = call(step, operands(step, pack, seats, made.origins, h, w, false), way, pack, h, w);
  const int site = model.hook(step);
  if (site >= 0 && !model.formats().of(site).exact()) {
    for (const auto& [_, window] : pack.live) {
      if (window.values.is_alias_of(made.values)) made.values = made.values.clone();
    }
    RowImages images;
    for (const Seat& seat : seats) {
      images.push_back(seat.golden->images()[static_cast<std::size_t>(seat.row)]);
    }
    model.emulate_windows(site, made.values, made.origins, images, costs.emulation_s);
  }
  pack.live.insert_or_assign(what.output, std::move(made));
  return true;
}

namespace {

// The part of a box where a row of windows differs from golden.
Box tightened(const Window& window, std::int64_t row, Box box, const at::Tensor& map,
              std::int64_t image) {
  const auto i = static_cast<std::size_t>(row);
  const std::int64_t channels = map.size(1), h = window.height(), w = window.width();
  const float* mine = window.values.const_data_ptr<float>() + row * channels * h * w;
  const float* golden = map.const_data_ptr<float>() + image * map.stride(0);
  const std::int64_t top = window.origins.top[i], left = window.origins.left[i];
  const auto same = [&](std::int64_t y0, std::int64_t y1, std::int64_t x0, std::int64_t x1) {
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t y = y0; y < y1; ++y) {
        const float* a = mine + (c * h + y - top) * w + x0 - left;
        const float* b = golden + c * map.stride(1) + y * map.stride(2) + x0 * map.stride(3);
        if (map.stride(3) == 1) {
          if (std::memcmp(a, b, static_cast<std::size_t>(x1 - x0) * sizeof(float)) != 0)
            return false;
          continue;
        }
        for (std::int64_t x = 0; x < x1 - x0; ++x) {
          if (std::memcmp(a + x, b + x * map.stride(3), sizeof(float)) != 0) return false;
        }
      }
    }
    return true;
  };
  while (!box.empty() && same(box.top, box.top + 1, box.left, box.right)) ++box.top;
  while (!box.empty() && same(box.bottom - 1, box.bottom, box.left, box.right)) --box.bottom;
  while (!box.empty() && same(box.top, box.bottom, box.left, box.left + 1)) ++box.left;
  while (!box.empty() && same(box.top, box.bottom, box.right - 1, box.right)) --box.right;
  return box;
}

}  // namespace

// Finds what damage is left; trials without any are done.
void Regions::State::drop_dead(Pack& pack, const std::function<void(const Ready&)>& died,
                               EngineCosts& costs) {
  const std::size_t count = pack.trials.size();
  for (auto& [slot, window] : pack.live) {
    at::parallel_for(0, static_cast<std::int64_t>(count), 4,
                     [&, &window = window, slot = slot](std::int64_t begin, std::int64_t end) {
                       for (std::int64_t i = begin; i < end; ++i) {
                         const Ready& one = *pack.trials[static_cast<std::size_t>(i)];
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
  std::vector<const Ready*> trials;
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
int Regions::State::walk(std::int32_t site, Pack& pack, int from, int limit,
                         const std::function<void(const Ready&)>& died, EngineCosts& costs) {
  auto& took = taken[site];
  for (int step = from; step < limit; ++step) {
    const Step& what = program.steps()[static_cast<std::size_t>(step)];
    const auto damaged = [&](int slot) { return pack.live.count(slot) > 0; };
    const auto& how = steps[static_cast<std::size_t>(step)];
    const auto& read = how && how->list ? how->maps : what.inputs;
    if (std::none_of(read.begin(), read.end(), damaged)) continue;
    if (!how) return step;
    // A list is made and taken in one go.
    if (how->collects) {
      if (step + 1 >= limit) return step;
      continue;
    }
    const auto begin = Clock::now();
    const std::size_t known = ways.size();
    if (how->convolution) {
      drop_dead(pack, died, costs);
      if (pack.trials.empty()) return step;
    }
    if (!apply(step, pack, costs)) return how->list ? step - 1 : step;
    if (ways.size() == known) {  // not one that was tried first
      took[step].seconds += seconds_since(begin);
      took[step].trials += static_cast<std::int64_t>(pack.trials.size());
    }
    const auto& lifetimes = program.lifetimes();
    std::erase_if(pack.live, [&](const auto& entry) {
      return lifetimes[static_cast<std::size_t>(entry.first)].last <= step;
    });
  }
  return limit;
}

// The step up to which windows have saved the most.
void Regions::State::learn(std::int32_t site, int from) {
  double saved = 0, most = 0;
  int stop = from;
  int last = from;
  for (const auto& [step, took] : taken[site]) {
    if (took.trials == 0) continue;
    saved += profile.seconds[static_cast<std::size_t>(step)] / static_cast<double>(batch()) -
             took.seconds / static_cast<double>(took.trials);
    last = step + 1;
    if (saved >= most) {
      most = saved;
      stop = last;
    }
  }
  if (stop < last) stops[site] = stop;
}

std::vector<Regions::Landing> Regions::carry(std::int32_t site,
                                             std::span<const Ready* const> trials,
                                             const std::function<void(const Ready&)>& died,
                                             EngineCosts& costs) {
  State& state = *state_;
  const int from = state.model.model().first_step(site);
  std::map<int, std::vector<Flight>> landed;
  std::vector<Hit> carried;
  const auto stop = state.stops.find(site);
  for (const Ready* one : trials) {
    std::optional<Box> box;
    if (state.usable(site, *one->golden)) box = state.hit_box(site, *one);
    if (!box || (stop != state.stops.end() && stop->second == from)) {
      landed[from].push_back({one, {}});
    } else {
      carried.push_back({one, *box});
    }
  }
  std::stable_sort(carried.begin(), carried.end(), [](const Hit& a, const Hit& b) {
    return a.box.height() * a.box.width() < b.box.height() * b.box.width();
  });
  const double formats = costs.emulation_s;
  const auto begin = Clock::now();
  std::size_t most = 0;
  for (std::size_t at = 0; at < carried.size(); at += most) {
    const int slot = state.model.model().slots(site)[0];
    most = static_cast<std::size_t>(most_rows(carried[at].trial->golden->tensor(slot)));
    const auto some = std::span(carried).subspan(at, std::min(most, carried.size() - at));
    int limit = static_cast<int>(state.steps.size());
    for (const Hit& hit : some) limit = std::min(limit, hit.trial->golden->to());
    const auto known = state.stops.find(site);
    if (known != state.stops.end()) limit = std::min(limit, known->second);
    costs.carried += static_cast<std::int64_t>(some.size());
    Pack pack = state.start(site, some);
    const int step = state.walk(site, pack, from, limit, died, costs);
    if (!pack.trials.empty()) state.drop_dead(pack, died, costs);
    for (std::size_t i = 0; i < pack.trials.size(); ++i) {
      Flight flight{pack.trials[i], {}};
      if (step == from) {  // not a step was run
        landed[step].push_back(std::move(flight));
        continue;
      }
      for (const auto& [slot, window] : pack.live) {
        const Box& box = window.boxes[i];
        if (box.empty()) continue;
        const at::Tensor part = window.values[static_cast<std::int64_t>(i)]
                                    .narrow(1, box.top - window.origins.top[i], box.height())
                                    .narrow(2, box.left - window.origins.left[i], box.width());
        flight.pieces.push_back({slot, false, box.top, box.left, part.clone()});
      }
      landed[step].push_back(std::move(flight));
    }
    if (state.stops.find(site) == state.stops.end()) state.learn(site, from);
  }
  costs.regions_s += seconds_since(begin) - (costs.emulation_s - formats);
  std::vector<Landing> landings;
  for (auto& [step, flights] : landed) landings.push_back({step, std::move(flights)});
  return landings;
}

}  // namespace bitfall
