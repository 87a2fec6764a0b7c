#include "self_replay.h"

#include <algorithm>
#include <bit>
#include <initializer_list>
#include <set>

#include "child_process.h"
#include "error.h"
#include "log.h"
#include "numbers.h"
#include "stop.h"
#include "words.h"

namespace bitfall {
namespace {

bool same_edit(const Edit& a, const Edit& b) {
  return a.element == b.element && a.register_index == b.register_index &&
         a.operation == b.operation && a.mask == b.mask &&
         std::bit_cast<std::uint32_t>(a.value) == std::bit_cast<std::uint32_t>(b.value);
}

/// "format 'nf4'": what of others in use is of these kinds.
std::vector<std::string> foreign_uses(const Session& session,
                                      std::initializer_list<const char*> kinds) {
  std::vector<std::string> found;
  for (const std::string& use : session.foreign_uses()) {
    const auto is = [&](const char* kind) { return use.starts_with(kind + std::string(" ")); };
    if (std::any_of(kinds.begin(), kinds.end(), is)) found.push_back(use);
  }
  return found;
}

/// Who may have made the answer another: what of others changes values in a pass.
std::string suspects(const Session& session) {
  const std::vector<std::string> found = foreign_uses(session, {"format", "protection"});
  if (found.empty()) return "something in the network does";
  return (found.size() == 1 ? "" : "one of these does: ") + joined(found) +
         (found.size() == 1 ? " does" : "");
}

/// Who may have made codes and values of a site others: its format, or where that comes with the
/// program, the protections of others around it.
std::string maker_of_values(const Session& session, std::int32_t site) {
  const std::string format = "format '" + session.format_name(site) + "'";
  const std::vector<std::string> protections = foreign_uses(session, {"protection"});
  const bool own = foreign_uses(session, {"format"}).empty();
  if (!own || protections.empty() || !session.facts().protection) return format;
  return joined(protections, " or ") + " around " + format;
}

/// The first stage at which two results of a trial part, and whose code that is.
std::string difference(const Session& session, const TrialResult& a, const TrialResult& b) {
  const auto same_edits = [](const EditRecord& x, const EditRecord& y) {
    return same_edit(x.edit, y.edit);
  };
  if (!std::equal(a.edits.begin(), a.edits.end(), b.edits.begin(), b.edits.end(), same_edits)) {
    return session.error_model_name(a.entry) + " draws other edits";
  }
  const std::string format = maker_of_values(session, a.site);
  for (std::size_t i = 0; i < a.edits.size(); ++i) {
    const EditRecord &x = a.edits[i], &y = b.edits[i];
    if (x.code_before != y.code_before || x.code_after != y.code_after) {
      return format + " gives code " + hex(x.code_after) + ", then " + hex(y.code_after);
    }
    if (!same_number(x.value_before, y.value_before) ||
        !same_number(x.value_after, y.value_after)) {
      return format + " gives value " + exact_text(x.value_after) + ", then " +
             exact_text(y.value_after);
    }
  }
  if (!same_number(a.golden_loss, b.golden_loss) || !same_number(a.faulty_loss, b.faulty_loss) ||
      a.golden_top1 != b.golden_top1 || a.faulty_top1 != b.faulty_top1 || a.outcome != b.outcome) {
    return "the answer is another (loss " + exact_text(a.golden_loss) + " -> " +
           exact_text(a.faulty_loss) + ", then " + exact_text(b.golden_loss) + " -> " +
           exact_text(b.faulty_loss) + "): " + suspects(session);
  }
  for (std::size_t i = 0; i < a.metrics.size() && i < b.metrics.size(); ++i) {
    if (same_number(a.metrics[i], b.metrics[i])) continue;
    const StoredColumn& column = session.columns()[i];
    return "metric '" + column.metric + "' gives " + column.name + " = " +
           exact_text(a.metrics[i]) + ", then " + exact_text(b.metrics[i]);
  }
  return "";
}

constexpr const char* kNoFunction =
    "what a component gives may depend on nothing but its arguments ([run] self_replay)";
constexpr double kNoLimit = 1e9;  // seconds; [run] plugin_limit is that of each call

void compare(const Session& session, const TrialResult& a, const TrialResult& b,
             const char* why = kNoFunction) {
  if (same_result(a, b)) return;
  const Site& site = session.model().sites()[static_cast<std::size_t>(a.site)];
  throw Error(ExitCode::kPlugin, "trial " + std::to_string(a.trial) + " at site '" + site.name +
                                     "' gives another result when it is run again: " +
                                     difference(session, a, b) + "; " + why);
}

/// So many of them, or all where there are fewer, spread evenly.
std::vector<std::int64_t> spread(const std::vector<std::int64_t>& stored, std::int64_t count) {
  const std::int64_t all = std::ssize(stored);
  count = std::min(count, all);
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < count; ++i) {
    chosen.push_back(stored[static_cast<std::size_t>((2 * i + 1) * all / (2 * count))]);
  }
  return chosen;
}

/// As `--isolate` stores it: the network's own crashes come with the fault's edits.
bool plugin_crashed(const TrialResult& result) {
  return result.outcome == Outcome::kCrashed && result.edits.empty();
}

/// [run] self_replay of what is stored, other trials than those ahead of the run.
std::vector<TrialResult> some_stored(const Session& session, const Store& store) {
  const std::vector<bool> done = store.trials_done();
  std::vector<std::int64_t> stored;
  for (std::size_t trial = 0; trial < done.size(); ++trial) {
    if (done[trial]) stored.push_back(static_cast<std::int64_t>(trial));
  }
  std::vector<TrialResult> some;
  for (const std::int64_t trial : spread(stored, session.campaign().self_replay)) {
    TrialResult then = store.read_trial(trial);
    if (!plugin_crashed(then)) some.push_back(std::move(then));
  }
  return some;
}

/// What a command of the program said as it ended.
std::string error_in(const ChildResult& end) {
  constexpr std::string_view kOpening = "bitfall: error: ";
  const auto at = end.err.rfind(kOpening);
  if (at == end.err.npos) return "it ended with code " + std::to_string(end.code);
  return std::string(trimmed(std::string_view(end.err).substr(at + kOpening.size())));
}

}  // namespace

bool replays_trials(const Session& session) {
  return session.campaign().self_replay > 0 && session.uses_foreign_plugins();
}

std::string not_relied_on(const std::filesystem::path& run) {
  return "\n  the results cannot be relied on; they are kept in " + run.string();
}

void replay_ahead(Session& session, const std::map<std::int64_t, std::string>& given_up) {
  if (!replays_trials(session)) return;
  const auto fresh = session.fresh();
  const std::int32_t otherwise = fresh->engine().site_calibrated_otherwise(session.engine());
  if (otherwise >= 0) {
    const Site& site = session.model().sites()[static_cast<std::size_t>(otherwise)];
    throw Error(ExitCode::kPlugin, "format '" + session.format_name(otherwise) +
                                       "' gives other metadata in calibrate at site '" + site.name +
                                       "' when sites come in the reverse order; " + kNoFunction);
  }
  const std::int64_t trials = session.plan().size();
  const std::int64_t count = std::min(session.campaign().self_replay, trials);
  for (std::int64_t i = 0; i < count && !stop_requested; ++i) {
    const std::int64_t trial = i * trials / count;
    if (given_up.count(trial) > 0) continue;
    const TrialResult once = session.engine().run_one(session.plan(), trial, session.measure());
    compare(session, once, fresh->engine().run_one(fresh->plan(), trial, fresh->measure()));
  }
}

void replay_stored(Session& session, const Store& store) {
  if (!replays_trials(session)) return;
  const std::vector<TrialResult> stored = some_stored(session, store);
  if (!stored.empty()) replay_given(*session.fresh(), stored);
}

void replay_in_new_process(Session& session, const Store& store) {
  if (!replays_trials(session)) return;
  ChildCommand command{{"/proc/self/exe", "--quiet", "replay", store.directory().string(),
                        "--trust-plugins", "--for-the-run"},
                       {},
                       kNoLimit,
                       &stop_requested};
  std::string trials;
  for (const TrialResult& stored : some_stored(session, store)) {
    trials += (trials.empty() ? "" : ",") + std::to_string(stored.trial);
  }
  if (trials.empty()) return;
  command.words.insert(command.words.end(), {"--trial", trials});
  for (const std::filesystem::path& plugin : session.foreign_plugins()) {
    command.words.insert(command.words.end(), {"--plugin", plugin.string()});
  }
  std::string problem;
  try {
    const ChildResult end = run_child(command);
    if (end.code == 0) return;
    problem = error_in(end);
    if (end.code == static_cast<int>(ExitCode::kPlugin)) {
      throw Error(ExitCode::kPlugin, problem + "\n  this was in a process started for it");
    }
  } catch (const Error& error) {
    if (error.code() == ExitCode::kInterrupted) return;  // all is stored
    if (error.code() != ExitCode::kFailure) throw;
    problem = error.what();
  }
  log_warning("no process for trials to be run again in: " + problem);
  replay_stored(session, store);
}

bool is_worth_a_process(const Session& session, double run_s) {
  return session.opening_s() < std::max(3.0, run_s / 10);
}

void replay_given(Session& session, std::span<const TrialResult> results) {
  for (const TrialResult& then : results) {
    if (stop_requested) return;
    compare(session, then, session.engine().run_one(session.plan(), then.trial, session.measure()));
  }
}

std::int64_t replay_mended(Session& session, const Store& store) {
  constexpr std::int64_t kTrials = 256;
  const std::vector<bool> done = store.trials_done();
  const auto& strata = session.plan().strata();
  std::vector<std::vector<std::int64_t>> stored(strata.size());
  std::int64_t begin = 0, kinds = 0;
  for (std::size_t s = 0; s < strata.size(); begin += strata[s].trials, ++s) {
    for (std::int64_t trial = begin; trial < begin + strata[s].trials; ++trial) {
      if (done[static_cast<std::size_t>(trial)]) stored[s].push_back(trial);
    }
    kinds += stored[s].empty() ? 0 : 1;
  }
  const bool all = std::count(done.begin(), done.end(), true) <= kTrials;
  std::int64_t replayed = 0;
  for (const auto& trials : stored) {
    const std::int64_t count = all ? std::ssize(trials) : (kTrials + kinds - 1) / kinds;
    for (const std::int64_t trial : spread(trials, count)) {
      if (stop_requested) return replayed;
      const TrialResult then = store.read_trial(trial);
      if (plugin_crashed(then)) continue;  // that is what was mended
      compare(
          session, then, session.engine().run_one(session.plan(), trial, session.measure()),
          "the run does not go on with this plugin, whose results are not those that are stored");
      ++replayed;
    }
  }
  return replayed;
}

}  // namespace bitfall
