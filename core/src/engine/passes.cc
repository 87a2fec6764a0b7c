#include "passes.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "device_access.h"
#include "error.h"
#include "pass_limit.h"
#include "steps.h"
#include "timer.h"
#include "torch_message.h"

// A pass runs the network for up to `batch` trials of one site at once, from a step to the end. Row
// by row it holds the golden values of its trials' images, and in them the trials' damage. A cut is
// a step before which passes stop: a trial that has no damage left there has golden's answer and is
// done, and the others are packed into fewer passes.
//
//    site            cut                     cut                    answer
//     |  pass 1: a b c d  |  pass 1: a d e g  |  pass 1: a g h k  |
//     |  pass 2: e f g h  |  pass 2: h k      |                   |
//     |  pass 3: i j k l  |                   |                   |
//              b c f i j l are done      d e are done
//
// A pass with free rows stops where trials of later sites may come by: its own then wait for them.
namespace bitfall {
namespace {

// A tensor's memory where the images lie one after the other, as `golden` has them; null
// otherwise.
const char* image_after_image(const at::Tensor& value, const at::Tensor& golden) {
  const bool plain = value.is_cpu() && value.scalar_type() == golden.scalar_type() &&
                     value.dim() > 0 && value.is_non_overlapping_and_dense() &&
                     value.sizes() == golden.sizes() && value.strides() == golden.strides() &&
                     value.size(0) > 0 && value.stride(0) * value.size(0) == value.numel();
  return plain ? static_cast<const char*>(value.const_data_ptr()) : nullptr;
}

// A faulty pass that gave no answer.
struct PassFailure {
  Outcome outcome;
  std::string message;
};

// The machine is short of memory, and not the model that asks for more than any has.
bool short_of_memory(const std::exception& error) {
  if (!out_of_memory(error)) return false;
  const std::string_view text = error.what();
  constexpr std::string_view kAsked = "you tried to allocate ";
  const auto at = text.find(kAsked);
  if (at == text.npos) return true;
  const double bytes = std::strtod(std::string(text.substr(at + kAsked.size())).c_str(), nullptr);
  const double machine =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  return bytes <= machine;
}

bool is_expanded(const at::Tensor& value) {
  return std::any_of(value.strides().begin(), value.strides().end(),
                     [](std::int64_t stride) { return stride == 0; });
}

// Memory for such a value, with its strides, by which kernels choose how they compute.
at::Tensor room_for(const at::Tensor& value) {
  return is_expanded(value) ? at::empty_like(value)
                            : at::empty_strided(value.sizes(), value.strides(), value.options());
}

// True if what room_for(golden) holds after a copy from `mine` is `mine` to every step: of its
// type, shape and strides. Another path through a network that decides by values may have made it
// otherwise.
bool fits(const c10::IValue& mine, const c10::IValue& golden) {
  if (!mine.isTensor() || !golden.isTensor() || !mine.toTensor().defined()) return false;
  const at::Tensor &a = mine.toTensor(), &b = golden.toTensor();
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type() || a.layout() != b.layout() ||
      a.is_conj() != b.is_conj() || a.is_neg() != b.is_neg()) {
    return false;
  }
  if (a.layout() != at::kStrided) return true;
  return a.strides() == (is_expanded(b) ? room_for(b).strides() : b.strides());
}

at::Tensor copy_of(const at::Tensor& value) { return room_for(value).copy_(value); }

std::size_t index(int slot) { return static_cast<std::size_t>(slot); }

}  // namespace

bool is_expensive(const Step& step) {
  return step.operation == "conv" || step.operation == "linear" || step.operation == "matmul" ||
         step.operation == "einsum" || step.operation == "attention";
}

Passes::Passes(const EmulatedModel& model, bool early_stop, std::int64_t waiting_bytes)
    : model_(model),
      program_(model.model().program()),
      early_stop_(early_stop),
      waiting_bytes_(waiting_bytes),
      golden_rows_(model.model()) {}

// True if an image may stand in another row from the cut on: all that lives there lies image by
// image in rows that are alike, or is the same for all images.
bool Passes::movable(int cut) {
  const auto [known, fresh] = movable_.try_emplace(cut, model_.model().rows_alike());
  if (!fresh) return known->second;
  const auto& lifetimes = program_.lifetimes();
  for (std::size_t slot = 0; slot < lifetimes.size(); ++slot) {
    const auto index = static_cast<int>(slot);
    if (lifetimes[slot].lives_at(cut) && !model_.model().images(index).exists() &&
        !model_.model().image_independent(index)) {
      known->second = false;
    }
  }
  return known->second;
}

// True if trials of both chunks may stand in one pass from the cut on.
bool Passes::alike(int cut, const GoldenChunk& a, const GoldenChunk& b) {
  if (&a == &b) return true;
  const auto [known, fresh] = mixable_.try_emplace({cut, &a, &b}, true);
  if (!fresh) return known->second;
  const auto& lifetimes = program_.lifetimes();
  for (std::size_t slot = 0; slot < lifetimes.size(); ++slot) {
    if (!lifetimes[slot].lives_at(cut)) continue;
    if (model_.model().images(static_cast<int>(slot)).exists()) continue;
    if (!same_value(a.slots()[slot], b.slots()[slot])) known->second = false;
  }
  return known->second;
}

// Into as few passes as can be. An image keeps its row where rows are not alike.
std::vector<Passes::Pass> Passes::pack(int cut, std::vector<Flight*> flights) {
  std::vector<std::vector<Flight*>> groups;  // whose chunks may be mixed
  for (Flight* flight : flights) {
    const auto fits = [&](const std::vector<Flight*>& group) {
      return alike(cut, *group.front()->golden, *flight->golden);
    };
    auto group = std::find_if(groups.begin(), groups.end(), fits);
    if (group == groups.end()) group = groups.emplace(groups.end());
    group->push_back(flight);
  }
  std::vector<Pass> passes;
  for (std::vector<Flight*>& group : groups) {
    std::vector<std::size_t> used(static_cast<std::size_t>(batch()), 0);
    std::size_t most = 0;
    for (const Flight* flight : group) {
      most = std::max(most, ++used[static_cast<std::size_t>(flight->row)]);
    }
    const std::size_t fewest = (group.size() + used.size() - 1) / used.size();
    const std::size_t first = passes.size();
    // Moving an image to another row means copying all that lives: only where it saves a pass.
    if (most > fewest && movable(cut)) {
      for (Flight* flight : group) {
        if (passes.size() == first || passes.back().size() == used.size()) passes.emplace_back();
        const auto row = static_cast<std::int64_t>(passes.back().size());
        passes.back().push_back({flight, row});
      }
      continue;
    }
    for (Pass& pass : pack_at_home(std::move(group))) passes.push_back(std::move(pass));
  }
  return passes;
}

// Each image in the row that it has in its chunk: the n-th trial of every row goes into the n-th
// pass.
std::vector<Passes::Pass> Passes::pack_at_home(std::vector<Flight*> flights) const {
  std::vector<Pass> passes;
  std::vector<std::size_t> used(static_cast<std::size_t>(batch()), 0);
  for (Flight* flight : flights) {
    const std::int64_t row = flight->row;
    const std::size_t pass = used[static_cast<std::size_t>(row)]++;
    if (pass == passes.size()) passes.emplace_back();
    passes[pass].push_back({flight, row});
  }
  return passes;
}

// All images of a chunk that meet the same weight fault share a pass.
std::vector<Passes::Pass> Passes::pack_weights(std::vector<Flight*> flights) const {
  std::map<std::pair<std::int64_t, std::vector<std::uint64_t>>, std::vector<Flight*>> alike;
  for (Flight* flight : flights) {
    alike[{flight->golden->chunk(), key_of(flight->injection.changes)}].push_back(flight);
  }
  std::vector<Pass> passes;
  for (auto& [_, some] : alike) {
    for (Pass& pass : pack_at_home(std::move(some))) passes.push_back(std::move(pass));
  }
  return passes;
}

// Free rows hold what the first trial's chunk has there.
RowImages Passes::images_of(const Pass& pass) const {
  RowImages images = pass.front().flight->golden->images();
  images.golden = false;
  images.marks.assign(images.size(), nullptr);
  for (const BatchPlace& place : pass) {
    const auto row = static_cast<std::size_t>(place.row);
    images[row] = place.flight->trial.image;
    images.marks[row] = &place.flight->detected;
  }
  return images;
}

// True if each trial's image stands in the row that it has in the first trial's chunk.
bool Passes::at_home(const Pass& pass) const {
  const GoldenChunk* base = pass.front().flight->golden;
  return std::all_of(pass.begin(), pass.end(), [&](const BatchPlace& place) {
    return place.flight->golden == base && place.flight->row == place.row;
  });
}

// The numbers of the pass's images, row by row.
at::Tensor Passes::numbers_of(const Pass& pass) const {
  const GoldenChunk& base = *pass.front().flight->golden;
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(batch()));
  for (std::int64_t row = 0; row < batch(); ++row) {
    numbers[static_cast<std::size_t>(row)] = golden_rows_.number(base, row);
  }
  for (const BatchPlace& place : pass) {
    numbers[static_cast<std::size_t>(place.row)] =
        golden_rows_.number(*place.flight->golden, place.flight->row);
  }
  return to_device(numbers, base.input());
}

// Golden values of the pass's images at a cut. `own`, by slot: the tensor is this pass's alone.
Slots Passes::table(int cut, const Pass& pass, std::vector<bool>& own) {
  const GoldenChunk& base = *pass.front().flight->golden;
  Slots slots = program_.fork(base.slots(), cut);
  own.assign(slots.size(), false);
  // What later steps write to was cloned, and memory that slots share is shared among the clones:
  // it must stay so.
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    const c10::IValue &mine = slots[slot], &golden = base.slots()[slot];
    own[slot] = mine.isTensor() && mine.toTensor().defined() && mine.toTensor().has_storage() &&
                !mine.toTensor().is_alias_of(golden.toTensor());
  }
  if (at_home(pass)) return slots;
  const bool on_device = model_.on_device(base.input());
  const at::Tensor numbers = on_device ? numbers_of(pass) : at::Tensor();
  const auto& lifetimes = program_.lifetimes();
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    const auto number = static_cast<int>(slot);
    const ImageAxis& axis = model_.model().images(number);
    if (!axis.exists() || !lifetimes[slot].lives_at(cut) || !slots[slot].isTensor()) continue;
    at::Tensor value = slots[slot].toTensor();
    if (on_device) {
      if (!own[slot]) value = room_for(value);
      by_image(value, axis).copy_(golden_rows_.gather(cut, number, numbers));
    } else {
      if (!own[slot]) value = copy_of(value);
      for (const BatchPlace& place : pass) {
        const Flight& one = *place.flight;
        if (one.golden == &base && one.row == place.row) continue;
        image_of(value, axis, place.row).copy_(image_of(one.golden->tensor(number), axis, one.row));
      }
    }
    slots[slot] = value;
    own[slot] = true;
  }
  return slots;
}

// Injects at the site.
void Passes::put_in(std::int32_t site, const Pass& pass, Slots& slots,
                    std::vector<bool>& own) const {
  const Site& hit = model_.model().sites()[static_cast<std::size_t>(site)];
  const bool weight = model_.model().is_weight(site);
  std::vector<std::int64_t> places;
  std::vector<float> values;
  for (const BatchPlace& place : pass) {
    for (const Change& change : place.flight->injection.changes) {
      places.push_back((weight ? 0 : place.row * hit.values) + change.element);
      values.push_back(change.value);
    }
    if (weight) break;  // the same change for all of the pass
  }
  const auto put = [&](int slot, const at::Tensor& value) {
    slots[index(slot)] = value;
    own[index(slot)] = true;
  };
  if (weight) {
    for (const auto& [slot, value] : model_.changed_parameter(
             site, [&](at::Tensor& parameter) { write_values(parameter, places, values); })) {
      put(slot, value);
    }
    return;
  }
  const int slot = model_.model().slots(site)[0];
  at::Tensor faulty = slots[index(slot)].toTensor();
  if (!own[index(slot)]) faulty = copy_of(faulty);
  write_values(by_image(faulty, model_.model().images(slot)), places, values);
  put(slot, faulty);
}

// The table at a cut with the pass's damage in it.
Slots Passes::at_cut(std::int32_t site, int cut, const Pass& pass) {
  std::vector<bool> own;
  Slots slots = table(cut, pass, own);
  if (pass.front().flight->damage.empty()) {
    put_in(site, pass, slots, own);
    return slots;
  }
  const auto owned = [&](int slot) -> const at::Tensor& {
    c10::IValue& value = slots[index(slot)];
    if (!own[index(slot)]) value = copy_of(value.toTensor());
    own[index(slot)] = true;
    return value.toTensor();
  };
  if (model_.on_device(pass.front().flight->golden->input())) {
    put_back(pass, owned);
    return slots;
  }
  for (const BatchPlace& place : pass) {
    for (const Damage& part : place.flight->damage) {
      const at::Tensor& value = owned(part.slot);
      if (part.whole) {
        const at::Tensor image = image_of(value, model_.model().images(part.slot), place.row);
        image.copy_(part.values[part.row].view(image.sizes()));
      } else {
        value.select(0, place.row)
            .narrow(1, part.top, part.values.size(1))
            .narrow(2, part.left, part.values.size(2))
            .copy_(part.values);
      }
    }
  }
  return slots;
}

// The damage of trials that waited: that of all of them in a slot lies in one tensor.
void Passes::put_back(const Pass& pass,
                      const std::function<const at::Tensor&(int slot)>& owned) const {
  std::vector<std::int64_t> rows, sources;
  for (const BatchPlace& place : pass) {
    rows.push_back(place.row);
    sources.push_back(place.flight->damage.front().row);
  }
  const auto count = static_cast<std::int64_t>(rows.size());
  rows.insert(rows.end(), sources.begin(), sources.end());
  const at::Tensor both = to_device(rows, pass.front().flight->golden->input());
  for (const Damage& part : pass.front().flight->damage) {
    by_image(owned(part.slot), model_.model().images(part.slot))
        .index_copy_(0, both.slice(0, 0, count), part.values.index_select(0, both.slice(0, count)));
  }
}

// What a pass that came from `from` may have changed of all that lives at `cut`, if its trials can
// be packed again there: values that lie image by image.
std::optional<std::vector<int>> Passes::changed_slots(std::int32_t site, const Slots& slots,
                                                      int from, int cut, const Pass& pass) const {
  std::vector<bool> damaged(slots.size(), false);  // at `from`
  for (const BatchPlace& place : pass) {
    for (const Damage& part : place.flight->damage) damaged[index(part.slot)] = true;
  }
  if (pass.front().flight->damage.empty()) {
    for (const int slot : model_.model().slots(site)) damaged[index(slot)] = true;
    for (const SharedView& view : model_.model().overlaps(site)) damaged[index(view.slot)] = true;
  }
  const GoldenChunk& base = *pass.front().flight->golden;
  const auto& lifetimes = program_.lifetimes();
  std::vector<int> changed;
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    if (!lifetimes[slot].lives_at(cut)) continue;
    if (slots[slot].isNone() || base.slots()[slot].is(slots[slot])) continue;
    if (!model_.model().images(static_cast<int>(slot)).exists()) {
      if (!same_value(slots[slot], base.slots()[slot])) return std::nullopt;
      continue;
    }
    // Copies of other chunks' golden rows are no change.
    if (lifetimes[slot].made < from && !damaged[slot]) continue;
    if (!fits(slots[slot], base.slots()[slot])) return std::nullopt;
    changed.push_back(static_cast<int>(slot));
  }
  if (!program_.share_alike(slots, base.slots(), cut)) return std::nullopt;
  return changed;
}

// Which of the pass's trials have damage left.
std::vector<bool> Passes::alive(int cut, const Slots& slots, std::span<const int> changed,
                                const Pass& pass) {
  std::vector<bool> alive;
  const bool on_device = !changed.empty() && model_.on_device(slots[index(changed[0])].toTensor());
  if (!on_device) {
    for (const BatchPlace& place : pass) alive.push_back(differs(slots, changed, place));
    return alive;
  }
  // One answer for all rows, so that the device is waited for once.
  const at::Tensor numbers = at_home(pass) ? at::Tensor() : numbers_of(pass);
  at::Tensor any;
  for (const int slot : changed) {
    const ImageAxis& axis = model_.model().images(slot);
    const at::Tensor mine = by_image(slots[index(slot)].toTensor(), axis);
    const at::Tensor golden = numbers.defined()
                                  ? golden_rows_.gather(cut, slot, numbers)
                                  : by_image(pass.front().flight->golden->tensor(slot), axis);
    const at::Tensor differs = bits_of(mine).ne(bits_of(golden)).flatten(1).any(1);
    any = any.defined() ? any.logical_or(differs) : differs;
  }
  any = to_host(any);
  const auto rows = any.accessor<bool, 1>();
  for (const BatchPlace& place : pass) alive.push_back(rows[place.row]);
  return alive;
}

bool Passes::differs(const Slots& slots, std::span<const int> changed,
                     const BatchPlace& place) const {
  const Flight& one = *place.flight;
  for (const int slot : changed) {
    const at::Tensor& mine = slots[index(slot)].toTensor();
    const at::Tensor& golden = one.golden->tensor(slot);
    const ImageAxis& axis = model_.model().images(slot);
    const char* a = axis.leads() ? image_after_image(mine, golden) : nullptr;
    const char* b = axis.leads() ? image_after_image(golden, golden) : nullptr;
    if (a && b) {
      const auto size = static_cast<std::size_t>(axis.slabs * mine.stride(0)) * mine.element_size();
      if (std::memcmp(a + static_cast<std::size_t>(place.row) * size,
                      b + static_cast<std::size_t>(one.row) * size, size) != 0) {
        return true;
      }
    } else if (!same_bits(image_of(mine, axis, place.row), image_of(golden, axis, one.row))) {
      return true;
    }
  }
  return false;
}

// Of a faulty pass: a fault may also leave an answer of another form.
at::Tensor Passes::answer(const Slots& slots) const {
  try {
    return program_.output(slots);
  } catch (const std::exception& error) {
    if (short_of_memory(error)) throw;
    throw PassFailure{Outcome::kCrashed, torch_message(error)};
  }
}

void Passes::finish(std::span<const BatchPlace> pass, const Slots& slots,
                    const PassReport& report) const {
  const at::Tensor logits = answer(slots);
  ++report.costs.passes;
  report.costs.rows += static_cast<std::int64_t>(pass.size());
  for (const BatchPlace& place : pass) {
    place.flight->damage.clear();
    report.done(*place.flight, row_of(logits, place.row));
  }
}

// The first few expensive steps from `step` on, before which it may pay to see which trials are
// left.
std::vector<int> Passes::cuts_from(int step) const {
  std::vector<int> cuts;
  for (; step < steps() && cuts.size() < 3; ++step) {
    if (is_expensive(program_.steps()[static_cast<std::size_t>(step)])) cuts.push_back(step);
  }
  return cuts;
}

// Where a pass stops. One that is not full does where others may fill it.
std::vector<int> Passes::cuts_of(int from, const Pass& pass, const Course& course,
                                 const PassReport& report) const {
  const bool full = static_cast<std::int64_t>(pass.size()) >= batch();
  const bool may_wait = early_stop_ && report.keep && !full;
  if (course.look == Look::kAlways || (course.looks() && !may_wait)) return cuts_from(from + 1);
  if (!may_wait) return {};
  const int first = course.site < 0 ? from + 1 : from;  // it has waited here already
  const auto ahead = waiting_.lower_bound({first, {}});
  const int others =
      ahead == waiting_.end() ? course.others : std::min(course.others, ahead->first.first);
  return cuts_from(std::max(first, others));
}

// Runs a pass up to the first of the cuts at which its trials can be told apart, and gives what may
// have changed there; nothing if there is no such cut. `at`: the step that it then stands at.
std::optional<std::vector<int>> Passes::run_to_cut(std::int32_t site, int from, const Pass& pass,
                                                   std::span<const int> cuts, Slots& slots, int& at,
                                                   EngineCosts& costs) const {
  const RowImages images = images_of(pass);
  int known = steps();  // golden values are there up to this step
  for (const BatchPlace& place : pass) known = std::min(known, place.flight->golden->to());
  if (model_.on_device(pass.front().flight->golden->input())) {
    known = std::min(known, golden_rows_.known_to());
  }
  at = from;
  for (const int cut : cuts) {
    if (cut > known) break;
    run_faulty(slots, at, cut, images, costs);
    at = cut;
    if (auto changed = changed_slots(site, slots, from, at, pass)) return changed;
  }
  return std::nullopt;
}

// Ends the trials of a pass at the cut whose damage is gone; the others wait with theirs.
Passes::Deaths Passes::wait(const Pass& pass, const Slots& slots, int cut,
                            const std::vector<int>& changed, const PassReport& report) {
  const bool on_device = model_.on_device(pass.front().flight->golden->input());
  Waiting& waiting = waiting_[{cut, on_device ? changed : std::vector<int>()}];
  const std::vector<bool> left = alive(cut, slots, changed, pass);
  Deaths deaths{static_cast<std::int64_t>(pass.size())};
  std::vector<std::int64_t> rows;
  std::vector<Flight*> living;
  for (std::size_t i = 0; i < pass.size(); ++i) {
    Flight& one = *pass[i].flight;
    one.damage.clear();
    if (left[i]) {
      rows.push_back(pass[i].row);
      living.push_back(report.keep ? report.keep(one) : &one);
      continue;
    }
    ++deaths.died;
    report.done(one, one.golden->logits(one.row));
  }
  waiting.deaths.add(deaths);
  report.costs.died += deaths.died;
  if (rows.empty()) return deaths;
  const at::Tensor taken = to_device(rows, slots[index(changed[0])].toTensor());
  for (const int slot : changed) {
    const at::Tensor mine =
        by_image(slots[index(slot)].toTensor(), model_.model().images(slot)).index_select(0, taken);
    waiting.bytes += static_cast<std::int64_t>(mine.nbytes());
    for (std::size_t i = 0; i < living.size(); ++i) {
      living[i]->damage.push_back({slot, true, 0, 0, mine, static_cast<std::int64_t>(i)});
    }
  }
  waiting.flights.insert(waiting.flights.end(), living.begin(), living.end());
  return deaths;
}

// Trials wait where they stand, with the damage that they have.
void Passes::wait_here(const Pass& pass, int cut, const PassReport& report) {
  Waiting& waiting = waiting_[{cut, {}}];
  waiting.deaths.met += static_cast<std::int64_t>(pass.size());
  for (const BatchPlace& place : pass) {
    Flight* one = report.keep(*place.flight);
    for (Damage& part : one->damage) {
      // Not the memory of all that were carried together.
      if (!part.whole) part.values = part.values.clone();
      waiting.bytes += static_cast<std::int64_t>(part.whole ? part.values[part.row].nbytes()
                                                            : part.values.nbytes());
    }
    waiting.flights.push_back(one);
  }
}

// The damage of all that wait as one tensor a slot, so that a pass takes its own from there at
// once.
void Passes::put_together(std::span<Flight* const> flights) {
  for (std::size_t part = 0; part < flights.front()->damage.size(); ++part) {
    std::vector<at::Tensor> tensors;
    std::int64_t before = 0;  // rows of the tensors ahead of the last
    for (Flight* one : flights) {
      Damage& damage = one->damage[part];
      if (tensors.empty() || !tensors.back().is_same(damage.values)) {
        if (!tensors.empty()) before += tensors.back().size(0);
        tensors.push_back(damage.values);
      }
      damage.row += before;
    }
    if (tensors.size() == 1) continue;
    const at::Tensor all = at::cat(tensors);
    for (Flight* one : flights) one->damage[part].values = all;
  }
}

// Runs what waits at a place, looking again on the way while that pays.
void Passes::run_place(std::map<Place, Waiting>::iterator place, int others,
                       const PassReport& report) {
  auto taken = waiting_.extract(place);
  const int cut = taken.key().first;
  auto& [flights, bytes, deaths] = taken.mapped();
  if (flights.empty()) return;
  if (model_.on_device(flights.front()->golden->input())) put_together(flights);
  const std::vector<Pass> packed = pack(cut, std::move(flights));
  const bool fewer = (packed.size() > 1 || report.keep) && deaths.pay();
  run_passes(cut, packed, {-1, others, fewer ? Look::kWhileItPays : Look::kNever}, report);
}

void Passes::run_waiting(int others, const PassReport& report) {
  const PartTimer timer(report.costs.suffix_s, report.costs);
  while (!waiting_.empty() && waiting_.begin()->first.first < others && !report.stop) {
    run_place(waiting_.begin(), others, report);
  }
}

// Runs on what takes more memory than it may, the largest part first.
void Passes::bound_waiting(int others, const PassReport& report) {
  const auto bytes = [&] {
    std::int64_t sum = 0;
    for (const auto& [_, waiting] : waiting_) sum += waiting.bytes;
    return sum;
  };
  while (bytes() > waiting_bytes_ && !report.stop) {
    const auto smaller = [](const auto& a, const auto& b) {
      return a.second.bytes < b.second.bytes;
    };
    run_place(std::max_element(waiting_.begin(), waiting_.end(), smaller), others, report);
  }
}

// Runs steps of a pass with faults in it. Throws PassFailure for what a fault has made of the
// model.
void Passes::run_faulty(Slots& slots, int from, int to, const RowImages& images,
                        EngineCosts& costs) const {
  int at = from;
  const auto failure = [&](Outcome outcome, const std::exception& error) {
    const auto step = static_cast<std::size_t>(std::min(at, steps() - 1));
    images.tell();
    return PassFailure{outcome, program_.steps()[step].place() + ": " + torch_message(error)};
  };
  try {
    model_.run(slots, from, to, images, costs.emulation_s, false, &at);
    images.tell();
  } catch (const Error&) {
    throw;
  } catch (const PassStopped&) {
    throw;
  } catch (const PassEndless& error) {
    throw failure(Outcome::kHung, error);
  } catch (const std::exception& error) {
    if (short_of_memory(error)) throw;
    throw failure(Outcome::kCrashed, error);
  }
}

// Runs trials of a pass that failed: fewer and fewer together, until each that fails is alone. It
// then stands in all rows, so that no other image under the same fault can be what fails.
void Passes::run_apart(std::int32_t site, int from, std::span<const BatchPlace> trials,
                       const PassReport& report) {
  if (report.stop) return;
  report.begin();
  Pass pass(trials.begin(), trials.end());
  if (pass.size() == 1 && movable(from)) {
    pass.clear();
    for (std::int64_t row = 0; row < batch(); ++row) pass.push_back({trials[0].flight, row});
  }
  try {
    Slots slots = at_cut(site, from, pass);
    run_faulty(slots, from, steps(), images_of(pass), report.costs);
    finish(std::span(pass).first(trials.size()), slots, report);
  } catch (const PassFailure& failure) {
    if (trials.size() == 1) {
      report.failed(*trials[0].flight, failure.outcome, failure.message);
      return;
    }
    run_apart(site, from, trials.first(trials.size() / 2), report);
    run_apart(site, from, trials.subspan(trials.size() / 2), report);
  }
}

// One pass, up to where its trials wait for others', or else to its end.
void Passes::run_pass(int from, const Pass& pass, Course& course, const PassReport& report) {
  const std::vector<int> cuts = cuts_of(from, pass, course, report);
  if (!cuts.empty() && cuts[0] == from && !pass.front().flight->damage.empty() &&
      !model_.on_device(pass.front().flight->golden->input())) {
    return wait_here(pass, from, report);
  }
  ++report.costs.begun;
  Slots slots = at_cut(course.site, from, pass);
  int at = from;
  if (const auto changed = run_to_cut(course.site, from, pass, cuts, slots, at, report.costs)) {
    course.deaths.add(wait(pass, slots, at, *changed, report));
    return;
  }
  run_faulty(slots, at, steps(), images_of(pass), report.costs);
  finish(pass, slots, report);
}

// Runs passes from step `from` on. If they look, they stop before the next expensive step: trials
// whose row is golden's there are finished, and those left are packed again, into fewer passes.
void Passes::run_passes(int from, const std::vector<Pass>& passes, Course course,
                        const PassReport& report) {
  for (const Pass& pass : passes) {
    if (report.stop) return;
    report.begin();
    try {
      run_pass(from, pass, course, report);
    } catch (const PassFailure&) {
      const std::size_t half = pass.size() / 2;
      if (half > 0) run_apart(course.site, from, std::span(pass).first(half), report);
      run_apart(course.site, from, std::span(pass).subspan(half), report);
    }
    bound_waiting(course.others, report);
  }
}

void Passes::run(std::int32_t site, int step, std::vector<Flight*> flights, int others,
                 const PassReport& report) {
  if (flights.empty()) return;
  const PartTimer timer(report.costs.suffix_s, report.costs);
  const bool weights = flights.front()->damage.empty() && model_.model().is_weight(site);
  const std::vector<Pass> passes =
      weights ? pack_weights(std::move(flights)) : pack(step, std::move(flights));
  // Looking costs. One pass becomes fewer with those of other sites; a weight fault has its own.
  const bool fewer = early_stop_ && (passes.size() > 1 || report.keep);
  const Look look = !fewer ? Look::kNever : weights ? Look::kAlways : Look::kWhileItPays;
  run_passes(step, passes, {site, others, look}, report);
}

void Passes::run_whole_pass(std::int32_t site, const Pass& pass, const at::Tensor& input,
                            const RowImages& images, const PassReport& report) const {
  double& formats = report.costs.emulation_s;
  const int first = model_.model().first_step(site);
  Slots slots = model_.start(input, images, formats);
  model_.run(slots, 0, first, images, formats);
  std::vector<bool> own(slots.size(), false);
  put_in(site, pass, slots, own);
  run_faulty(slots, first, steps(), images, report.costs);
  finish(pass, slots, report);
}

void Passes::run_whole(std::int32_t site, std::vector<Flight*> flights, const PassReport& report) {
  const PartTimer timer(report.costs.suffix_s, report.costs);
  std::map<const GoldenChunk*, std::vector<Flight*>> by_chunk;
  for (Flight* flight : flights) by_chunk[flight->golden].push_back(flight);
  for (auto& [golden, some] : by_chunk) {
    for (const Pass& pass : model_.model().is_weight(site) ? pack_weights(std::move(some))
                                                           : pack_at_home(std::move(some))) {
      if (report.stop) return;
      report.begin();
      try {
        run_whole_pass(site, pass, golden->input(), images_of(pass), report);
        continue;
      } catch (const PassFailure&) {  // each by itself
      }
      for (const BatchPlace& place : pass) {
        report.begin();
        RowImages images(static_cast<std::size_t>(batch()), place.flight->trial.image);
        images.marks.assign(images.size(), &place.flight->detected);
        try {
          run_whole_pass(site, {place},
                         golden->input().narrow(0, place.row, 1).expand_as(golden->input()).clone(),
                         images, report);
        } catch (const PassFailure& failure) {
          report.failed(*place.flight, failure.outcome, failure.message);
        }
      }
    }
  }
}

}  // namespace bitfall
