// What holds for every kind of component: what it gives depends on nothing but its arguments. A
// kind's file says what is tried (cases), each with all that the component gave as words.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "check_subject.h"
#include "error.h"
#include "timer.h"
#include "worker_threads.h"

namespace bitfall {

/// One thing that is tried. `give` is called from several threads at once.
template <typename Interface>
struct Case {
  std::string name;  // "encode of 3 x 5 values"
  std::function<Words(const Interface&)> give;
};
template <typename Interface>
using Cases = std::vector<Case<Interface>>;

template <typename Interface>
Words tried(const Case<Interface>& one, const Interface& component) {
  now_trying(one.name);
  return one.give(component);
}

template <typename Interface>
void require_same(const Case<Interface>& one, const Words& expected, const Words& given,
                  const char* when) {
  if (given != expected)
    throw CheckFailure("gives another result " + std::string(when) + ": " + one.name);
}

template <typename Interface>
std::vector<Words> all_results(const Cases<Interface>& cases, const Interface& component) {
  std::vector<Words> results;
  for (const auto& one : cases) results.push_back(tried(one, component));
  return results;
}

template <typename Interface>
void check_deterministic(const Subject& subject, const Cases<Interface>& cases) {
  const auto first = subject.make<Interface>();
  const auto expected = all_results(cases, *first);
  for (std::size_t i = cases.size(); i-- > 0;) {
    require_same(cases[i], expected[i], tried(cases[i], *first), "when it is called again");
  }
  const auto second = subject.make<Interface>();
  for (std::size_t i = cases.size(); i-- > 0;) {
    require_same(cases[i], expected[i], tried(cases[i], *second), "in a new instance");
  }
}

inline std::uint64_t hash_of(const Words& words) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const std::uint32_t word : words) hash = (hash ^ word) * 0x100000001b3;
  return hash;
}

/// What a static variable holds is of whatever came first in a process: here instances with other
/// options, and the cases the other way round.
template <typename Interface>
void check_alone(const Subject& subject, const Cases<Interface>& cases) {
  const auto elsewhere = in_another_process([&] {
    constexpr std::size_t kOthers = 8;
    const auto mine = subject.make<Interface>();
    std::vector<std::unique_ptr<Interface>> others;
    for (const auto& options : subject.variations()) {
      std::string refusal;
      try {
        if (auto other = subject.try_make<Interface>(options, refusal)) {
          others.push_back(std::move(other));
        }
      } catch (const std::exception&) {  // for "options" to tell
      }
      if (others.size() == kOthers) break;
    }
    std::vector<std::uint64_t> hashes(cases.size());
    for (std::size_t i = cases.size(); i-- > 0;) {
      try {
        hashes[i] = hash_of(tried(cases[i], *mine));
      } catch (const std::exception&) {  // no result: where there is one here, another
      }
    }
    return hashes;
  });
  const auto component = subject.make<Interface>();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const std::uint64_t here = hash_of(tried(cases[i], *component));
    if (i < elsewhere.size() && here == elsewhere[i]) continue;
    throw CheckFailure(
        "gives another result in a process of its own, in which instances with other options were "
        "made and the calls came in another order (a static variable?): " +
        cases[i].name);
  }
}

/// Notes what it gives, for who compares it with that of a process that loaded the plugin anew.
template <typename Interface>
void note_results(const Subject& subject, const Cases<Interface>& cases) {
  const auto component = subject.make<Interface>();
  std::string lines;
  for (const auto& one : cases) {
    lines += one.name + '\t';
    try {
      lines += std::to_string(hash_of(tried(one, *component)));
    } catch (const std::exception&) {  // for "deterministic" to tell
    }
    lines += '\n';
  }
  note(lines);
}

template <typename Interface>
void check_threads(const Subject& subject, const Cases<Interface>& cases) {
  const auto expected = all_results(cases, *subject.make<Interface>());
  const auto shared = subject.make<Interface>();
  constexpr std::size_t kThreads = 4;
  constexpr int kRounds = 4;
  std::atomic<std::size_t> next{0};
  now_trying("several threads");
  run_on(kThreads, [&] {
    const std::size_t start = next++ * cases.size() / kThreads;
    for (int round = 0; round < kRounds; ++round) {
      for (std::size_t i = 0; i < cases.size(); ++i) {
        const std::size_t at = (start + i) % cases.size();
        require_same(cases[at], expected[at], cases[at].give(*shared),
                     "when several threads call it at once");
      }
    }
  });
}

/// Thousands of calls, as in a campaign.
template <typename Interface>
void check_soak(const Subject& subject, const Cases<Interface>& cases) {
  constexpr std::size_t kCalls = 5000;
  constexpr double kSeconds = 2;
  const auto component = subject.make<Interface>();
  const auto expected = all_results(cases, *component);
  const auto start = Clock::now();
  for (std::size_t i = 0; i < kCalls && seconds_since(start) < kSeconds; ++i) {
    const std::size_t at = i % cases.size();
    require_same(cases[at], expected[at], tried(cases[at], *component), "after many calls");
  }
}

/// Options at their ends and at random: refused, or all cases come to an end.
template <typename Interface>
void check_options(const Subject& subject, const Cases<Interface>& cases) {
  constexpr double kSeconds = 10;
  const auto start = Clock::now();
  const auto variations = subject.variations();
  for (std::size_t i = 0; i < variations.size(); ++i) {
    const auto& options = variations[i];
    if (seconds_since(start) > kSeconds) {
      note(std::to_string(i) + " of " + std::to_string(variations.size()) +
           " sets of options, for lack of time");
      return;
    }
    const std::string text = options_text(options);
    const TryingWith with(text);
    std::string refusal;
    try {
      const auto component = subject.try_make<Interface>(options, refusal);
      if (!component) continue;
      for (const auto& one : cases) tried(one, *component);
    } catch (const std::exception& error) {
      throw CheckFailure(std::string(error.what()) + " (with " + text + ")");
    }
  }
}

/// A check of one kind's components.
struct Check {
  const char* name;
  const char* promise;  // what is checked, a clause
  void (*run)(const Subject& subject);
};

/// Is run at the beginning and at the end, in two processes, which must note the same lines.
constexpr const char* kReload = "reload";

/// All checks of a kind, in their order. basic: what the results of others would stand on.
template <typename Interface>
std::vector<Check> checks_of(std::span<const Check> basic, void (*deterministic)(const Subject&),
                             void (*alone)(const Subject&), std::span<const Check> further,
                             void (*threads)(const Subject&), void (*soak)(const Subject&),
                             void (*options)(const Subject&), void (*results)(const Subject&)) {
  std::vector<Check> all{
      {"create", "it is made, more than once, and says what it has", [](const Subject& subject) {
         const auto one = subject.make<Interface>();
         const auto other = subject.make<Interface>();
       }}};
  all.insert(all.end(), basic.begin(), basic.end());
  all.push_back(
      {"deterministic", "equal results again, in another order, in a new instance", deterministic});
  all.push_back({"alone",
                 "equal results in another process, in which other instances and calls came first",
                 alone});
  all.insert(all.end(), further.begin(), further.end());
  all.push_back({"threads", "equal results in four threads at once", threads});
  all.push_back({"soak", "equal results over 5000 calls, or 2 seconds of them", soak});
  all.push_back({"options", "each option at its ends and at random: refused, or usable", options});
  all.push_back(
      {kReload, "equal results in a process that loads it anew, a second later", results});
  return all;
}
/// kAll: cases for the first of them; kFew: cases that take little time.
template <typename Interface, Cases<Interface> (*kAll)(const Subject&),
          Cases<Interface> (*kFew)(const Subject&)>
std::vector<Check> checks_over(std::span<const Check> basic, std::span<const Check> further) {
  return checks_of<Interface>(
      basic, [](const Subject& subject) { check_deterministic<Interface>(subject, kAll(subject)); },
      [](const Subject& subject) { check_alone<Interface>(subject, kFew(subject)); }, further,
      [](const Subject& subject) { check_threads<Interface>(subject, kFew(subject)); },
      [](const Subject& subject) { check_soak<Interface>(subject, kFew(subject)); },
      [](const Subject& subject) { check_options<Interface>(subject, kFew(subject)); },
      [](const Subject& subject) { note_results<Interface>(subject, kFew(subject)); });
}

std::vector<Check> format_checks();
std::vector<Check> error_model_checks();
std::vector<Check> metric_checks();
std::vector<Check> head_checks();
std::vector<Check> protection_checks();

}  // namespace bitfall
