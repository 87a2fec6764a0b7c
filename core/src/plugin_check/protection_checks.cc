// What protections are tried with.
#include <algorithm>
#include <cmath>
#include <limits>

#include "any_kind_checks.h"
#include "bitfall/extensions/guard_ranges.h"
#include "bounded_array.h"
#include "check_inputs.h"
#include "numbers.h"
#include "words.h"

namespace bitfall {
namespace {

/// A place, and what training images and a faulty one gave there.
struct GuardedPlace {
  GuardedPlace(const char* name, const char* operation, Shape dimensions, int axis,
               PhiloxStream random)
      : name(name),
        operation(operation),
        shape(std::span<const std::int64_t>{dimensions}),
        axis(axis) {
    const auto count = static_cast<std::size_t>(element_count(shape.view()));
    for (int i = 0; i < 6; ++i) training.push_back(usual_values(count, random));
    for (auto& image : training) image[count / 2] = 0;
    wild = wild_values(count, random);
  }
  ProtectedSite view() const {
    return {sizeof(ProtectedSite), name, operation, shape.view(), axis, 65504};
  }
  bool is_answer() const { return operation == std::string_view("answer"); }
  std::string text() const { return "site " + in_quotes(name); }

  const char* name;
  const char* operation;
  BoundedArray<std::int64_t> shape;
  std::int32_t axis;
  std::vector<std::vector<float>> training;
  std::vector<float> wild;
};

std::vector<std::shared_ptr<const GuardedPlace>> places(const Subject& subject) {
  std::vector<std::shared_ptr<const GuardedPlace>> made;
  std::uint64_t stream = 30;
  const auto add = [&](const char* name, const char* operation, Shape shape, int axis) {
    made.push_back(std::make_shared<GuardedPlace>(name, operation, std::move(shape), axis,
                                                  subject.random(++stream)));
  };
  add("relu map", "relu", {4, 6, 5}, 0);
  add("conv map", "conv", {3, 8, 8}, 0);
  add("linear row", "linear", {12}, 0);
  add("one value", "linear", {1}, -1);
  add("tokens", "matmul", {7, 16}, 1);
  add("softmax", "softmax", {2, 5, 5}, -1);
  add("answer", "answer", {10}, -1);
  return made;
}

BoundedArray<float> learned_state(const Protection& protection, const GuardedPlace& place) {
  const ProtectedSite site = place.view();
  BoundedArray<double> scratch(static_cast<std::size_t>(protection.scratch_size(site)));
  BoundedArray<float> state(static_cast<std::size_t>(protection.state_size(site)));
  const int passes = protection.passes();
  now_trying("learn at " + place.text());
  for (int pass = 0; pass < passes; ++pass) {
    for (const auto& image : place.training) {
      const BoundedArray<float> values(std::span<const float>{image});
      protection.learn(site, pass, values.view(), scratch.view());
    }
  }
  if (state.size() > 0) {
    now_trying("finish at " + place.text());
    protection.finish(site, std::as_const(scratch).view(), state.view());
  }
  if (!scratch.intact() || !state.intact()) {
    throw CheckFailure("writes ahead of its arrays while it learns, at " + place.text());
  }
  return state;
}

/// What guard made of values.
struct Mended {
  BoundedArray<float> values;
  Verdict verdict;
};

Mended mended(const Protection& protection, const GuardedPlace& place,
              const std::vector<float>& values, const BoundedArray<float>& state,
              std::int64_t first = 0, std::int64_t stride = 1) {
  Mended result{BoundedArray<float>(std::span<const float>{values}), {}};
  now_trying("guard at " + place.text());
  result.verdict = protection.guard(place.view(), result.values.view(),
                                    {place.shape.view(), first, stride, 0}, state.view());
  if (!result.values.intact()) {
    throw CheckFailure("writes ahead of the values in guard, at " + place.text());
  }
  return result;
}

std::int64_t changed(const std::vector<float>& before, const BoundedArray<float>& after) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    count += bits_of_float(before[i]) != bits_of_float(after[i]) ? 1 : 0;
  }
  return count;
}

void add_words(Words& words, const Mended& result) {
  add_words(words, result.values);
  add_word(words, result.verdict.detected);
  add_word(words, result.verdict.corrected);
  add_word(words, std::int64_t{result.verdict.again});
}

Words guard_words(const Protection& protection, const GuardedPlace& place) {
  Words words;
  const ProtectedSite site = place.view();
  if (!protection.wants(site)) return words;
  const auto state = learned_state(protection, place);
  add_words(words, state);
  const ProtectionCost cost = protection.cost(site);
  add_word(words, cost.operations);
  add_word(words, cost.stored_bits);
  add_word(words, std::int64_t{protection.computed_twice(site)});
  for (const auto& values : {place.training[0], place.wild}) {
    add_words(words, mended(protection, place, values, state));
  }
  return words;
}

Cases<Protection> protection_cases(const Subject& subject) {
  Cases<Protection> cases;
  for (const auto& place : places(subject)) {
    cases.push_back({"learn and guard at " + place->text(), [place](const Protection& protection) {
                       return guard_words(protection, *place);
                     }});
  }
  return cases;
}

/// Runs `look` at each place that it wants, with what it learned there.
template <typename Look>
void for_each_place(const Subject& subject, Look look) {
  const auto protection = subject.make<Protection>();
  for (const auto& place : places(subject)) {
    if (!protection->wants(place->view())) continue;
    look(*protection, *place, learned_state(*protection, *place));
  }
}

void check_sizes(const Subject& subject) {
  for_each_place(subject, [&](const Protection& protection, const GuardedPlace& place,
                              const BoundedArray<float>& state) {
    const auto other = subject.make<Protection>();
    const ProtectedSite site = place.view();
    for (const Protection* one : {&protection, static_cast<const Protection*>(other.get())}) {
      if (one->state_size(site) == static_cast<std::int64_t>(state.size()) && one->wants(site))
        continue;
      throw CheckFailure("wants another place, or another size of state, in another call, at " +
                         place.text());
    }
    protection.cost(site);
  });
}

/// Some clip the ends of what they have seen by design; one that hits much of it guards something
/// else than it has learned.
void check_unchanged(const Subject& subject) {
  constexpr std::int64_t kShare = 20;  // a twentieth
  for_each_place(subject, [](const Protection& protection, const GuardedPlace& place,
                             const BoundedArray<float>& state) {
    for (const auto& image : place.training) {
      const Mended result = mended(protection, place, image, state);
      const std::int64_t other = changed(image, result.values);
      if (other == 0 && result.verdict.detected == 0) continue;
      const auto size = static_cast<std::int64_t>(image.size());
      const std::string what = "changes " + std::to_string(other) + " and detects " +
                               std::to_string(result.verdict.detected) + " of " +
                               std::to_string(size) + " values that it has learned from, at " +
                               place.text();
      if (kShare * std::max(other, result.verdict.detected) > size) throw CheckFailure(what);
      if (noted().empty()) note(what + "; where it is meant to, fault-free answers change with it");
    }
  });
}

// A run hands the state from process to process, stores it and lets faults hit it: nothing else.
void check_state(const Subject& subject) {
  for_each_place(subject, [&](const Protection& protection, const GuardedPlace& place,
                              const BoundedArray<float>& state) {
    const auto other = subject.make<Protection>();
    for (const auto& values : {place.training[0], place.wild}) {
      Words mine, theirs;
      add_words(mine, mended(protection, place, values, state));
      add_words(theirs, mended(*other, place, values, state));
      if (mine == theirs) continue;
      throw CheckFailure(
          "guards otherwise in an instance that is given what was learned and has not learned it "
          "itself, at " +
          place.text() + ": what learn() finds must be in scratch and state (state_size)");
    }
  });
}

void check_verdicts(const Subject& subject) {
  for_each_place(subject, [](const Protection& protection, const GuardedPlace& place,
                             const BoundedArray<float>& state) {
    const Mended result = mended(protection, place, place.wild, state);
    const std::int64_t count = changed(place.wild, result.values);
    if (count == result.verdict.corrected) return;
    throw CheckFailure("changes " + std::to_string(count) + " values and says that it corrected " +
                       std::to_string(result.verdict.corrected) + ", at " + place.text());
  });
}

void check_guard_slices(const Subject& subject) {
  PhiloxStream random = subject.random(5);
  for_each_place(subject, [&](const Protection& protection, const GuardedPlace& place,
                              const BoundedArray<float>& state) {
    if (place.is_answer()) return;
    const Mended whole = mended(protection, place, place.wild, state);
    const auto size = static_cast<std::int64_t>(place.wild.size());
    std::int64_t detected = 0;
    for (std::int64_t at = 0; at < size; ++at) {
      const float value = place.wild[static_cast<std::size_t>(at)];
      detected += mended(protection, place, {value}, state, at).verdict.detected;
    }
    if (detected != whole.verdict.detected) {
      throw CheckFailure("detects " + std::to_string(whole.verdict.detected) +
                         " values in the whole and " + std::to_string(detected) +
                         " of them one by one, at " + place.text());
    }
    for (int i = 0; i < 16; ++i) {
      const auto first = static_cast<std::int64_t>(random.below(place.wild.size()));
      const auto stride = static_cast<std::int64_t>(1 + random.below(4));
      std::vector<float> part;
      for (std::int64_t at = first; at < size; at += stride) {
        part.push_back(place.wild[static_cast<std::size_t>(at)]);
      }
      const Mended alone = mended(protection, place, part, state, first, stride);
      for (std::size_t k = 0; k < part.size(); ++k) {
        const auto at = static_cast<std::size_t>(first) + k * static_cast<std::size_t>(stride);
        if (bits_of_float(alone.values[k]) == bits_of_float(whole.values[at])) continue;
        throw CheckFailure("makes " + exact_text(alone.values[k]) + " of " + exact_text(part[k]) +
                           " in a slice, " + exact_text(whole.values[at]) + " in the whole, at " +
                           place.text());
      }
    }
  });
}

/// Learned numbers are registers: a fault leaves any bits in them.
void check_any_state(const Subject& subject) {
  PhiloxStream random = subject.random(6);
  for_each_place(subject, [&](const Protection& protection, const GuardedPlace& place,
                              const BoundedArray<float>& learned) {
    for (int round = 0; round < 32; ++round) {
      BoundedArray<float> state(std::span<const float>(learned.data(), learned.size()));
      for (float& number : state) {
        if (random.below(2) == 1) number = std::bit_cast<float>(random.next());
      }
      if (round == 0) state.fill(std::numeric_limits<float>::quiet_NaN());
      const Mended result = mended(protection, place, place.wild, state);
      const std::int64_t count = changed(place.wild, result.values);
      if (count > result.verdict.corrected) {
        throw CheckFailure("with a state that a fault has hit, changes " + std::to_string(count) +
                           " values and says that it corrected " +
                           std::to_string(result.verdict.corrected) + ", at " + place.text());
      }
    }
  });
}

/// What a host does in its place where values lie on a GPU.
void check_ranges(const Subject& subject) {
  PhiloxStream random = subject.random(7);
  for_each_place(subject, [&](const Protection& protection, const GuardedPlace& place,
                              const BoundedArray<float>& learned) {
    const auto* ranges = static_cast<const GuardRanges*>(protection.extension(kGuardRanges));
    if (ranges == nullptr || place.is_answer()) return;
    if (ranges->size < sizeof(GuardRanges)) throw CheckFailure("its GuardRanges have no size");
    const auto numbers = static_cast<std::int64_t>(learned.size());
    const GuardUnits units = guard_units(place.view(), numbers);
    if (units.count == 0) {
      throw CheckFailure("has GuardRanges, and a state of " + std::to_string(numbers) +
                         " numbers: two are needed for the site, each channel or each value of " +
                         place.text());
    }
    for (int round = 0; round < 8; ++round) {
      BoundedArray<float> state(std::span<const float>(learned.data(), learned.size()));
      for (float& number : state) {
        if (round > 0 && random.below(3) == 0) number = std::bit_cast<float>(random.next());
      }
      const Mended result = mended(protection, place, place.wild, state);
      for (std::size_t i = 0; i < place.wild.size(); ++i) {
        constexpr float kMost = std::numeric_limits<float>::max();
        const auto unit = static_cast<std::size_t>(units.of(static_cast<std::int64_t>(i)));
        const float low = numbers == 0 ? -kMost : state[2 * unit];
        const float high = numbers == 0 ? kMost : state[2 * unit + 1];
        const float expected = ranges->guarded(place.wild[i], low, high);
        if (bits_of_float(expected) == bits_of_float(result.values[i])) continue;
        throw CheckFailure("makes " + exact_text(result.values[i]) + " of " +
                           exact_text(place.wild[i]) + ", and its GuardRanges " +
                           exact_text(expected) + ", with bounds " + exact_text(low) + " and " +
                           exact_text(high) + " at " + place.text());
      }
    }
  });
}

constexpr Check kBasicProtectionChecks[] = {
    {"sizes", "places, sizes of state and costs stay the same; learning stays within its arrays",
     check_sizes},
};

constexpr Check kProtectionChecks[] = {
    {"unchanged", "values that it has learned from pass unchanged and undetected, or most of them",
     check_unchanged},
    {"state", "what it learns is in its state, which another instance can be given", check_state},
    {"verdicts", "it says that it corrected as many values as it changed", check_verdicts},
    {"slices", "a slice guarded alone is what it is in the whole, and so is what is detected there",
     check_guard_slices},
    {"any_state", "any learned numbers, NaN among them, are taken", check_any_state},
    {"ranges", "where it says that it keeps values in ranges (GuardRanges), it does no more",
     check_ranges},
};

}  // namespace

std::vector<Check> protection_checks() {
  return checks_over<Protection, protection_cases, protection_cases>(kBasicProtectionChecks,
                                                                     kProtectionChecks);
}

}  // namespace bitfall
