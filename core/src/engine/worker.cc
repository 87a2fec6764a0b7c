#include "worker.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include "answer.h"
#include "device_access.h"
#include "error.h"
#include "numbers.h"
#include "pass_limit.h"
#include "plugin_calls.h"
#include "site_codes.h"
#include "timer.h"

namespace bitfall {
namespace {

bool all_finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(),
                     [](float value) { return std::isfinite(value); });
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

Outcome outcome_of(std::span<const float> golden, std::span<const float> faulty) {
  if (same_bits(golden, faulty)) return Outcome::kMasked;
  if (!all_finite(faulty)) return Outcome::kNonfinite;
  return top1(faulty) != top1(golden) ? Outcome::kTop1Changed : Outcome::kTop1Same;
}

}  // namespace

bool CampaignRun::golden_missing(const ImageChunks& chunks, std::int64_t chunk) const {
  for (std::int64_t row = 0; row < chunks.size(chunk); ++row) {
    const auto image = static_cast<std::size_t>(chunks.image(chunk, row));
    if (image >= golden_done.size() || !golden_done[image]) return true;
  }
  return false;
}

Worker::Worker(Workload& workload, const EngineOptions& options, CampaignRun& run,
               std::int64_t budget)
    : workload_(workload),
      options_(options),
      run_(run),
      budget_(budget),
      regions_(workload.emulated(), workload.step_costs(), workload.ways()),
      passes_(
          workload.emulated(), options.early_stop,
          std::clamp<std::int64_t>(budget / 8, std::int64_t{16} << 20, std::int64_t{256} << 20)) {}

bool Worker::group(std::span<const std::int64_t> chunks) {
  passes_.new_group();
  kept_.clear();
  std::vector<GoldenChunk> goldens;
  goldens.reserve(chunks.size());
  std::map<std::int32_t, std::vector<GroupTrial>> by_site;
  for (const std::int64_t chunk : chunks) {
    if (run_.stopped()) return false;
    goldens.push_back(
        workload_.golden(chunk, budget_ / static_cast<std::int64_t>(chunks.size()), costs_));
    check_golden(goldens.back());
    if (run_.golden_missing(workload_.chunks(), chunk)) store_golden(goldens.back());
    const std::int64_t first =
        static_cast<std::int64_t>(goldens.size() - 1) * workload_.model().batch();
    for (const std::int64_t id :
         std::exchange(run_.by_chunk[static_cast<std::size_t>(chunk)], {})) {
      const Trial trial = run_.plan.trial(id);
      const auto given_up = options_.given_up.find(id);
      if (given_up != options_.given_up.end()) {
        const GoldenChunk& golden = goldens.back();
        fail({trial, &golden, workload_.chunks().row_of(trial.image), {}}, Outcome::kCrashed,
             given_up->second);
        continue;
      }
      by_site[trial.site].emplace_back(first + workload_.chunks().row_of(trial.image), id);
    }
  }
  std::vector<std::int32_t> sites;
  for (const auto& [site, _] : by_site) sites.push_back(site);
  const Model& model = workload_.model();
  std::stable_sort(sites.begin(), sites.end(), [&](std::int32_t a, std::int32_t b) {
    return model.first_step(a) < model.first_step(b);
  });
  std::vector<const GoldenChunk*> sources;
  for (const GoldenChunk& golden : goldens) sources.push_back(&golden);
  passes_.set_chunks(sources);
  for (std::size_t i = 0; i < sites.size(); ++i) {
    const int next =
        i + 1 < sites.size() ? model.first_step(sites[i + 1]) : std::numeric_limits<int>::max();
    if (!site(sites[i], std::exchange(by_site[sites[i]], {}), goldens, next)) return false;
  }
  return true;
}

void Worker::store_golden(const GoldenChunk& golden) {
  if (workload_.emulated().exact()) {
    workload_.note_fp32(golden.images(), golden.logits());
  } else if (const RowImages& images = golden.images();
             std::any_of(images.begin(), images.end(),
                         [&](std::int32_t image) { return !workload_.fp32(image); })) {
    const Timer timer(costs_.golden_s);
    const Program& program = workload_.model().program();
    Slots slots = workload_.emulated().start_plain(golden.input());
    program.run(slots, 0, static_cast<int>(program.steps().size()));
    workload_.note_fp32(golden.images(), program.output(slots));
  }
  const std::lock_guard lock(run_.mutex);
  for (std::int64_t row = 0; row < workload_.chunks().size(golden.chunk()); ++row) {
    const std::int32_t image = golden.images()[static_cast<std::size_t>(row)];
    const auto logits = golden.logits(row);
    const auto& plain = *workload_.fp32(image);
    run_.sink.golden({image, loss_of(logits, workload_.dataset().label(image), options_.answer),
                      top1(logits),
                      static_cast<float>(top2diff(AsLogits(logits, options_.answer).values())),
                      plain.loss, plain.top1});
  }
}

// Costs nothing, and sees what no hash of a file does: data that change between two looks at them,
// another processor.
void Worker::check_golden(const GoldenChunk& golden) const {
  const auto& known = options_.known_golden;
  for (std::int64_t row = 0; row < workload_.chunks().size(golden.chunk()); ++row) {
    const std::int32_t image = golden.images()[static_cast<std::size_t>(row)];
    const auto then = std::lower_bound(
        known.begin(), known.end(), image,
        [](const GoldenResult& result, std::int32_t wanted) { return result.image < wanted; });
    if (then == known.end() || then->image != image) continue;
    const auto logits = golden.logits(row);
    const double loss = loss_of(logits, workload_.dataset().label(image), options_.answer);
    if (same_number(loss, then->loss) && top1(logits) == then->top1) continue;
    throw Error(ExitCode::kInput,
                "image '" + workload_.dataset().name(image) + "': without a fault its loss was " +
                    exact_text(then->loss) + " and its answer class " + std::to_string(then->top1) +
                    " when the run began, and now they are " + exact_text(loss) + " and " +
                    std::to_string(top1(logits)) +
                    ": other data, preprocessing or arithmetic\n  restore what the run began with, "
                    "or start a new run");
  }
}

// Runs the trials of one site, which come chunk by chunk: a slice of them at a time, so that memory
// does not grow with their number. `next`: the first step of the next site's trials.
bool Worker::site(std::int32_t site, std::vector<GroupTrial> trials, std::span<GoldenChunk> goldens,
                  int next) {
  constexpr std::size_t kInjected = 8;  // as many as are carried together: some need no carrying
  const std::size_t most = kInjected * options_.flights_at_once;
  // An image's trials in one slice, as those that change the same are run once. Not where a pass
  // wants each of its rows of another image.
  const bool by_image = options_.share && options_.suffix && workload_.model().rows_alike() &&
                        !workload_.model().is_weight(site);
  if (trials.size() > most && by_image) std::sort(trials.begin(), trials.end());
  for (std::size_t from = 0; from < trials.size(); from += most) {
    const std::size_t count = std::min(most, trials.size() - from);
    const int others = from + count < trials.size() ? workload_.model().first_step(site) : next;
    if (!slice(site, std::span(trials).subspan(from, count), goldens, others)) return false;
  }
  return true;
}

bool Worker::slice(std::int32_t site, std::span<const GroupTrial> its,
                   std::span<GoldenChunk> goldens, int others) {
  if (run_.stopped()) return false;
  std::vector<Trial> trials;
  trials.reserve(its.size());
  for (const GroupTrial& one : its) {
    trials.push_back(run_.plan.trial(one.id()));
  }
  std::vector<Flight> flights = inject_all(site, trials, goldens);
  Twins twins;
  const std::vector<Flight*> wanted = distinct(flights, twins);
  std::size_t end = 0;
  do {
    const std::size_t from = end;
    end = std::min(from + options_.flights_at_once, wanted.size());
    const auto at = [&](std::size_t place) {
      return wanted.begin() + static_cast<std::ptrdiff_t>(place);
    };
    const std::vector<Flight*> together{at(from), at(end)};
    std::optional<PluginWork> work;  // formats are asked for many trials at once, or for this one
    if (together.size() == 1 && kept_.empty()) {
      const std::int64_t trial = together[0]->trial.id;
      work.emplace(workload_.model().sites()[static_cast<std::size_t>(site)].name.c_str(), trial);
      if (options_.begins) options_.begins(trial);
    }
    const int more = end < wanted.size() ? workload_.model().first_step(site) : others;
    if (!fly(site, together, twins, more)) return false;
  } while (end < wanted.size());
  tell();
  return true;
}

std::vector<Flight> Worker::inject_all(std::int32_t site, std::span<const Trial> trials,
                                       std::span<GoldenChunk> goldens) {
  std::vector<Flight> flights;
  flights.reserve(trials.size());
  for (GoldenChunk& golden : goldens) {
    golden.advance(workload_.model().first_step(site), costs_);
    const auto elsewhere = std::find_if(trials.begin(), trials.end(), [&](const Trial& trial) {
      return workload_.chunks().chunk_of(trial.image) != golden.chunk();
    });
    const auto here = static_cast<std::size_t>(elsewhere - trials.begin());
    const Timer timer(costs_.injection_s);
    inject_chunk(site, trials.first(here), golden, flights);
    trials = trials.subspan(here);
  }
  return flights;
}

void Worker::inject_chunk(std::int32_t site, std::span<const Trial> trials,
                          const GoldenChunk& golden, std::vector<Flight>& flights) {
  if (trials.empty()) return;
  const Model& model = workload_.model();
  const EmulatedModel& emulated = workload_.emulated();
  const Site& place = model.sites()[static_cast<std::size_t>(site)];
  const bool weight = model.is_weight(site);
  std::vector<std::vector<Edit>> edits;
  bool conditions = false;  // what is read then is known only when values are
  for (const Trial& trial : trials) {
    const PluginWork work(place.name.c_str(), trial.id);
    edits.push_back(run_.plan.edits(trial));
    conditions = conditions || run_.plan.condition(trial) != nullptr;
  }
  const int slot = model.slots(site)[0];
  if (!weight) emulated.check_size(site, golden.tensor(slot));
  const at::Tensor values =
      weight ? emulated.parameter(site) : by_image(golden.tensor(slot), model.images(slot));
  // Of a value on a device only what is read, in one transfer; the value where that is less.
  std::vector<float> fetched;
  at::Tensor host;
  if (emulated.on_device(values)) {
    const auto places =
        conditions ? std::nullopt : places_read(site, trials, edits, values.numel());
    if (places) {
      fetched = read_values(values, *places);
    } else {
      host = to_host(values).contiguous();
    }
  } else {
    host = values.to(at::kFloat).contiguous();
  }
  std::span<const float> rest(fetched);
  std::optional<float> clamp;
  if (options_.hit_value == HitValue::kClamped) {
    clamp = emulated.profiles()[static_cast<std::size_t>(site)].golden.absolute();
  }
  const NumberFormat& format = emulated.formats().of(site);
  const auto size = static_cast<std::size_t>(place.values);
  for (std::size_t i = 0; i < trials.size(); ++i) {
    const Trial& trial = trials[i];
    const PluginWork work(place.name.c_str(), trial.id);
    const std::int64_t row = workload_.chunks().row_of(trial.image);
    std::span<const float> slab;
    if (!host.defined()) {
      slab_.resize(std::max(slab_.size(), size));
      for (const ElementRun& run : elements_read(format, place.shape, edits[i])) {
        for (std::int64_t k = 0; k < run.count; ++k) {
          slab_[static_cast<std::size_t>(run.first + k * run.stride)] =
              rest[static_cast<std::size_t>(k)];
        }
        rest = rest.subspan(static_cast<std::size_t>(run.count));
      }
      slab = std::span(slab_).first(size);
    } else {
      slab = {host.const_data_ptr<float>() + (weight ? 0 : row * place.values), size};
    }
    Flight one{trial, &golden, row, {}};
    {
      const GuardScope scope(false, &one.detected_at_site);
      const auto injected = [&](std::span<const Edit> drawn) {
        return inject(format, slab, place.shape, emulated.metadata(site), drawn, clamp, scratch_,
                      emulated.stream(site, trial.image));
      };
      one.injection = injected(edits[i]);
      if (run_.plan.condition(trial) != nullptr) redraw(one, slab, injected);
    }
    compare_twice(site, one);
    flights.push_back(std::move(one));
  }
}

// Draws the trial's fault anew until what its edits find is as it must be.
void Worker::redraw(Flight& one, std::span<const float> slab,
                    const std::function<Injection(std::span<const Edit>)>& injected) const {
  const EditCondition& condition = *run_.plan.condition(one.trial);
  const std::int64_t label = workload_.dataset().label(one.trial.image);
  const auto taken = [&] {
    return std::all_of(
        one.injection.records.begin(), one.injection.records.end(), [&](const EditRecord& record) {
          return condition.holds(
              {sizeof(EditFinds), &record.edit, record.value_before, record.code_before, label});
        });
  };
  Plan::Draws draws = run_.plan.draws(one.trial);
  std::vector<Edit> last = draws.next();  // which is injected already
  for (one.draws = 1; !taken(); ++one.draws) {
    one.given_up = one.draws == kMostDraws;
    if (one.given_up) break;
    last = draws.next();
    one.injection = injected(last);
  }
  if (!one.given_up) return;
  if (const int finds = run_.plan.finds(one.trial); finds >= 0) {
    // There are some, and each is as likely as any other.
    one.given_up = false;
    SiteCodes site(workload_.emulated(), one.trial.site);
    const auto elements = elements_of_class(slab, site.of(one.trial.image, slab),
                                            std::countr_zero(last.front().mask), finds);
    if (elements.empty()) {
      throw Error(ExitCode::kInput,
                  "site '" +
                      workload_.model().sites()[static_cast<std::size_t>(one.trial.site)].name +
                      "' in image '" + workload_.dataset().name(one.trial.image) +
                      "' holds other values than when the run began: other data, preprocessing or "
                      "arithmetic\n  restore what the run began with, or start a new run");
    }
    last.front().element = elements[draws.below(elements.size())];
    one.injection = injected(last);
    return;
  }
  for (Edit& edit : last) {
    edit.operation = EditOperation::kFlip;
    edit.mask = 0;
    edit.value = 0;
  }
  one.injection = injected(last);
}

// What is computed twice differs under a transient fault, and the right one is taken.
void Worker::compare_twice(std::int32_t site, Flight& one) const {
  const Guarding* guarding = options_.guarding;
  if (guarding == nullptr || one.injection.changes.empty()) return;
  const auto index = static_cast<std::size_t>(site);
  if (index >= guarding->twice.size() || !guarding->twice[index] || !transient(one.trial)) return;
  one.injection.changes.clear();
  one.detected_at_site = true;
}

// Whether computing once more meets the trial's fault no more.
bool Worker::transient(const Trial& trial) const {
  const auto entry = static_cast<std::size_t>(trial.entry);
  const auto& permanent = options_.guarding->permanent;
  return !workload_.model().is_weight(trial.site) &&
         !(trial.entry >= 0 && entry < permanent.size() && permanent[entry]);
}

// Where inject() reads a site's values, trial by trial; nothing if that is more than `most` places.
std::optional<std::vector<std::int64_t>> Worker::places_read(
    std::int32_t site, std::span<const Trial> trials, std::span<const std::vector<Edit>> edits,
    std::int64_t most) const {
  const Site& place = workload_.model().sites()[static_cast<std::size_t>(site)];
  const NumberFormat& format = workload_.emulated().formats().of(site);
  const std::int64_t size = workload_.model().is_weight(site) ? 0 : place.values;
  std::vector<std::int64_t> places;
  for (std::size_t i = 0; i < trials.size(); ++i) {
    const std::int64_t first = workload_.chunks().row_of(trials[i].image) * size;
    for (const ElementRun& run : elements_read(format, place.shape, edits[i])) {
      if (static_cast<std::int64_t>(places.size()) + run.count > most) return std::nullopt;
      for (std::int64_t k = 0; k < run.count; ++k) {
        places.push_back(first + run.first + k * run.stride);
      }
    }
  }
  return places;
}

// Those that have to be run. Trials that change nothing are masked and done; of those that change
// the same values of one image one is run for all.
std::vector<Flight*> Worker::distinct(std::span<Flight> flights, Twins& twins) {
  std::vector<Flight*> wanted;
  using Same = std::tuple<const GoldenChunk*, std::int64_t, std::vector<std::uint64_t>>;
  std::map<Same, Flight*> first;
  for (Flight& one : flights) {
    if (one.injection.changes.empty()) {
      ++costs_.unchanged;
      finish(one, one.golden->logits(one.row));
      continue;
    }
    if (options_.share) {
      const auto [known, fresh] =
          first.try_emplace({one.golden, one.row, key_of(one.injection.changes)}, &one);
      if (!fresh) {
        ++costs_.shared;
        twins[known->second].push_back(&one);
        continue;
      }
    }
    wanted.push_back(&one);
  }
  return wanted;
}

// Tells of each trial that changes the same as this one.
void Worker::for_twins(const Flight& one, const Twins& twins,
                       const std::function<void(Flight&)>& tell) const {
  if (const auto kept = kept_.find(&one); kept != kept_.end()) {
    for (Flight& twin : kept->second->twins) tell(twin);
  } else if (const auto others = twins.find(&one); others != twins.end()) {
    for (Flight* twin : others->second) tell(*twin);
  }
}

// A trial that is to outlive those of its site.
Flight* Worker::keep(Flight& one, Twins& twins) {
  if (kept_.count(&one) > 0) return &one;
  auto kept = std::make_unique<Kept>();
  for_twins(one, twins, [&](Flight& twin) { kept->twins.push_back(std::move(twin)); });
  twins.erase(&one);
  kept->flight = std::move(one);
  Flight* place = &kept->flight;
  kept_.emplace(place, std::move(kept));
  return place;
}

// Takes trials from the site on, and those that wait before `others`. False if stopped.
bool Worker::fly(std::int32_t site, std::vector<Flight*> flights, Twins& twins, int others) {
  const auto done = [&](const Flight& one, std::span<const float> logits) {
    finish(one, logits);
    for_twins(one, twins, [&](Flight& twin) {
      twin.detected |= one.detected;
      finish(twin, logits);
    });
    kept_.erase(&one);
  };
  const auto failed = [&](const Flight& one, Outcome outcome, const std::string& message) {
    fail(one, outcome, message);
    for_twins(one, twins, [&](const Flight& twin) { fail(twin, outcome, message); });
    kept_.erase(&one);
  };
  PassLimit limit(options_.pass_seconds(workload_.step_costs().seconds_from(0)), &run_.stop);
  const auto begin = [&] {
    limit.restart();
    tell();
  };
  std::function<Flight*(Flight&)> kept;
  if (options_.flights_at_once > 1) kept = [&](Flight& one) { return keep(one, twins); };
  const PassReport report{done, failed, begin, kept, run_.stop, costs_};
  try {
    return pass_through(site, std::move(flights), kept ? others : std::numeric_limits<int>::max(),
                        report);
  } catch (const PassStopped&) {
    return false;
  }
}

bool Worker::pass_through(std::int32_t site, std::vector<Flight*> flights, int others,
                          const PassReport& report) {
  if (!options_.suffix) {
    passes_.run_whole(site, std::move(flights), report);
    return !run_.stopped();
  }
  std::map<int, std::vector<Flight*>> by_step;
  if (options_.regions && !workload_.model().is_weight(site)) {
    by_step = regions_.carry(
        site, flights, [&](const Flight& one) { report.done(one, one.golden->logits(one.row)); },
        costs_);
  } else {
    by_step[workload_.model().first_step(site)] = std::move(flights);
  }
  for (auto it = by_step.begin(); it != by_step.end(); ++it) {
    const int behind =
        std::next(it) == by_step.end() ? others : std::min(others, std::next(it)->first);
    passes_.run(site, it->first, std::move(it->second), behind, report);
    if (run_.stopped()) return false;
  }
  passes_.run_waiting(others, report);
  return !run_.stopped();
}

// What is known without an answer.
TrialResult Worker::result_of(const Flight& one) const {
  const auto clean = one.golden->logits(one.row);
  TrialResult result;
  result.trial = one.trial.id;
  result.entry = one.trial.entry;
  result.site = one.trial.site;
  result.image = one.trial.image;
  result.activated = !one.injection.changes.empty();
  result.edits = one.injection.records;
  result.golden_loss = loss_of(clean, workload_.dataset().label(one.trial.image), options_.answer);
  result.golden_top1 = top1(clean);
  return result;
}

TrialResult Worker::result_of(const Flight& one, std::span<const float> faulty) {
  const auto clean = one.golden->logits(one.row);
  const std::int64_t label = workload_.dataset().label(one.trial.image);
  TrialResult result = result_of(one);
  const Guarded guarded = guard_answer(one, faulty);
  faulty = guarded.answer;
  result.faulty_loss = loss_of(faulty, label, options_.answer);
  result.faulty_top1 = top1(faulty);
  result.outcome = outcome_of(clean, faulty);
  const AsLogits before(clean, options_.answer), after(faulty, options_.answer);
  const Site& site = workload_.model().sites()[static_cast<std::size_t>(one.trial.site)];
  const PluginWork work(site.name.c_str(), one.trial.id);
  result.metrics = run_.measurer.measure({sizeof(Observation), before.values(), after.values(),
                                          label, result.golden_loss, result.faulty_loss,
                                          result.golden_top1, result.faulty_top1});
  add_condition(one, result.metrics);
  if (options_.memory_code) {
    for (const bool event : {one.injection.corrected, one.injection.noticed}) {
      result.metrics.push_back(event ? 1 : 0);
    }
  }
  if (const Guarding* guarding = options_.guarding) {
    const bool alarm =
        one.golden->doubted(one.row) || guarding->record.false_alarm(one.trial.image);
    const bool detected = one.detected || one.detected_at_site || guarded.detected;
    for (const bool event : {detected, guarded.again, alarm}) {
      result.metrics.push_back(event ? 1 : 0);
    }
  }
  return result;
}

void Worker::add_condition(const Flight& one, std::vector<double>& metrics) const {
  if (!options_.conditions) return;
  metrics.push_back(static_cast<double>(one.draws));
  metrics.push_back(one.given_up ? 1 : 0);
}

// The answer that the protection lets pass.
Worker::Guarded Worker::guard_answer(const Flight& one, std::span<const float> faulty) {
  const auto clean = one.golden->logits(one.row);
  if (options_.guarding == nullptr || options_.guarding->answer == nullptr ||
      same_bits(clean, faulty)) {
    return {faulty, false, one.golden->again(one.row)};
  }
  answer_.assign(faulty.begin(), faulty.end());
  const AnswerVerdict verdict = options_.guarding->answer->guard(answer_);
  Guarded guarded{answer_, verdict.noticed && !one.golden->doubted(one.row), verdict.again};
  if (verdict.again && transient(one.trial)) guarded.answer = clean;
  return guarded;
}

// A trial that ended without an answer.
void Worker::fail(const Flight& one, Outcome outcome, const std::string& message) {
  const Timer timer(costs_.results_s);
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  TrialResult result = result_of(one);
  result.outcome = outcome;
  result.message = message;
  result.faulty_loss = kNone;
  result.faulty_top1 = -1;
  const std::size_t guards = options_.guarding == nullptr ? 0 : kGuardColumns.size();
  const std::size_t codes = options_.memory_code ? kMemoryColumns.size() : 0;
  result.metrics.assign(run_.measurer.columns(), kNone);
  add_condition(one, result.metrics);
  result.metrics.insert(result.metrics.end(), codes + guards, kNone);
  store(result);
}

void Worker::finish(const Flight& one, std::span<const float> faulty) {
  const Timer timer(costs_.results_s);
  store(result_of(one, faulty));
}

void Worker::store(const TrialResult& result) {
  const std::lock_guard lock(run_.mutex);
  run_.sink.trial(result);
  run_.count.dues += is_due(result.outcome) ? 1 : 0;
  ++run_.count.done;
  run_.count.mismatches += is_mismatch(result) ? 1 : 0;
}

void Worker::tell() {
  if (!run_.progress) return;
  const std::lock_guard lock(run_.mutex);
  run_.progress(run_.count);
}

}  // namespace bitfall
