#include "execution.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

#include "cluster_plan.h"
#include "error.h"
#include "json_file.h"
#include "log.h"
#include "output.h"
#include "plugin_calls.h"
#include "process_state.h"
#include "progress.h"
#include "report.h"
#include "report_number.h"
#include "sampling.h"
#include "self_replay.h"
#include "stop.h"
#include "text_table.h"
#include "timer.h"
#include "words.h"

namespace bitfall {
namespace {

std::string rate_text(const EngineProgress& count, double confidence) {
  if (count.done == 0) return "";
  std::string text = "mismatch " + percent(proportion(count.mismatches, count.done, confidence), 2);
  if (count.dues > 0) text += ", DUE " + percent(share(count.dues, count.done), 2);
  return text;
}

// Where the time of a run went.
void print_costs(const EngineCosts& costs, const Session& session) {
  const std::int64_t batch = session.campaign().batch;
  TextTable table({{"part"}, {"seconds", TextTable::kRight}, {"share", TextTable::kRight}});
  const double all = costs.total_s * static_cast<double>(costs.workers);
  const auto add = [&](const char* part, double seconds) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2f", seconds);
    table.add({part, text, percent(all > 0 ? seconds / all : 0, 1)});
  };
  add("golden passes", costs.golden_s);
  add("windows that faults have reached", costs.regions_s);
  add("whole steps after the faults", costs.suffix_s);
  add("values through their format", costs.emulation_s);
  add("drawing, encoding, editing", costs.injection_s);
  add("metrics and store", costs.results_s);
  add("the rest (loading images, waiting)", all - costs.golden_s - costs.regions_s -
                                                costs.suffix_s - costs.emulation_s -
                                                costs.injection_s - costs.results_s);
  add("all", all);
  if (const auto& protection = session.facts().protection) {
    print_result("\nWith the protection '%s':\n", protection->c_str());
  }
  print_result("\n%s\n", table.render().c_str());
  if (costs.workers > 1) {
    print_result("Seconds of %lld workers together; the run took %.2f.\n",
                 static_cast<long long>(costs.workers), costs.total_s);
  }
  const auto share_of = [](std::int64_t part, std::int64_t whole) {
    return percent(whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0, 0);
  };
  print_result("%lld chunks of %lld images. Of the trials\n", static_cast<long long>(costs.chunks),
               static_cast<long long>(batch));
  const auto tell = [](std::int64_t count, const std::string& what) {
    print_result("%12lld %s\n", static_cast<long long>(count), what.c_str());
  };
  tell(costs.unchanged, "changed no value");
  tell(costs.shared, "changed the same values as another trial");
  tell(costs.carried, "were carried by the windows that they had reached, and " +
                          std::to_string(costs.died_in_regions) + " of them died out there");
  tell(costs.died, "died out before an expensive step of a pass");
  tell(costs.rows, "went to the end in " + std::to_string(costs.passes) + " passes (" +
                       share_of(costs.rows, costs.passes * batch) + " full)");
  if (costs.begun > 0) {
    const auto each = [&](std::int64_t count) {
      char text[32];
      std::snprintf(text, sizeof text, "%.1f",
                    static_cast<double>(count) / static_cast<double>(costs.begun));
      return std::string(text);
    };
    print_result(
        "LibTorch was asked for %s operators a pass, golden passes and windows included, and for "
        "%s copies between host and device, of %s kB.\n",
        each(costs.operators).c_str(), each(costs.device_copies).c_str(),
        each(costs.device_bytes / 1000).c_str());
  }
  if (const std::string writer = session.model().writer(); !writer.empty()) {
    print_result(
        "The step %s writes in place to what something else holds: no golden value is kept, and no "
        "window carries a fault.\n",
        writer.c_str());
  }
  if (costs.refused > 0) {
    tell(costs.refused,
         "kinds of step and window gave other bits than whole maps and were run whole");
  }
}

/// Notes how far a shard is, every few seconds, for others to read: its database is not for them.
class StateNotes {
 public:
  StateNotes(const Store& store, std::filesystem::path file, std::int64_t planned)
      : file_(std::move(file)) {
    state_.planned = planned;
    state_.host = host_name();
    state_.process = ::getpid();
    store.for_each_trial([&](const TrialResult& trial) {
      ++state_.done;
      state_.mismatches += is_mismatch(trial) ? 1 : 0;
      state_.dues += is_due(trial.outcome) ? 1 : 0;
    });
    before_ = state_;
    write();
  }

  /// The engine's count is of this session. Any thread may tell.
  void update(const EngineProgress& count) {
    const std::lock_guard lock(mutex_);
    state_.done = before_.done + count.done;
    state_.mismatches = before_.mismatches + count.mismatches;
    state_.dues = before_.dues + count.dues;
    if (seconds_since(written_) >= kSeconds) write();
  }

  void finish(bool finished) {
    state_.finished = finished;
    write();
  }

 private:
  static constexpr double kSeconds = 2;

  void write() {
    written_ = Clock::now();
    const double seconds = seconds_since(start_);
    if (seconds > 0) state_.rate = static_cast<double>(state_.done - before_.done) / seconds;
    state_.updated = static_cast<double>(std::time(nullptr));
    write_shard_state(file_, state_);
  }

  const std::filesystem::path file_;
  const Clock::time_point start_ = Clock::now();
  std::mutex mutex_;
  ShardState state_, before_;
  Clock::time_point written_ = start_;
};

/// What the store does not hold yet; false if it was stopped.
/// notes: told of every few trials; may be null.
bool run_rest(Session& session, Store& store, const ExecutionOptions& options, std::int64_t planned,
              const std::string& go_on, StateNotes* notes) {
  const auto done = store.trials_done();
  const std::vector<bool> golden_done = expect_stored_golden(session, store);
  const std::int64_t before = store.count_done();
  Progress progress("trials", planned, before);
  const double confidence = session.campaign().confidence;
  const bool alike = !session.facts().sampling;  // else the share of mismatches says nothing
  const std::string kept = "what was stored before is kept; when this is fixed: " + go_on;
  const PluginAdvice advice(kept);
  if (options.explain) session.engine().count_traffic();
  try {
    if (options.ahead) options.ahead(session, store);
    before > 0 ? replay_stored(session, store) : replay_ahead(session);
    const bool finished = session.engine().run(
        session.plan(), done, golden_done, session.measure(), store, stop_requested,
        [&](const EngineProgress& count) {
          progress.update(before + count.done, alike ? rate_text(count, confidence) : "");
          if (notes) notes->update(count);
        });
    store.commit();
    progress.finish();
    return finished;
  } catch (const Error& error) {
    const std::string what = error.what();
    const bool told = what.find(go_on) != what.npos;
    if (told || !holds_run(store.directory())) throw;
    throw Error(error.code(), what + "\n  " + kept);
  }
}

/// Throws where components made anew give other results than those that are stored.
void prove(Session& session, const Store& store, double run_s) {
  try {
    is_worth_a_process(session, run_s) ? replay_in_new_process(session, store)
                                       : replay_stored(session, store);
  } catch (const Error& error) {
    throw Error(error.code(), error.what() + not_relied_on(store.directory()));
  }
}

std::string command_to_go_on(const Store& store, const ExecutionOptions& options) {
  return options.how_to_go_on.empty() ? "bitfall resume " + shell_word(store.directory().string())
                                      : options.how_to_go_on;
}

}  // namespace

std::vector<bool> expect_stored_golden(Session& session, const Store& store) {
  std::vector<bool> done(static_cast<std::size_t>(session.dataset().size()), false);
  const auto stored = store.golden_rows();
  for (const GoldenResult& row : stored) done[static_cast<std::size_t>(row.image)] = true;
  session.engine().expect_golden(stored);
  return done;
}

int execute(Session& session, Store& store, const ExecutionOptions& options) {
  const auto start = Clock::now();
  const ProcessState before;
  std::int64_t planned = session.engine().trials(session.plan());
  const std::string go_on = command_to_go_on(store, options);
  std::optional<StateNotes> notes;
  if (!options.state_file.empty()) notes.emplace(store, options.state_file, planned);
  if (session.facts().sampling) session.engine().keep_golden();  // for further rounds
  bool finished = run_rest(session, store, options, planned, go_on, notes ? &*notes : nullptr);
  EngineCosts costs = session.engine().costs();
  ExecutionOptions further = options;
  further.ahead = {};
  while (finished && plan_next_round(session, store)) {
    planned = session.plan().size();
    finished = run_rest(session, store, further, planned, go_on, nullptr);
    costs.add_run(session.engine().costs());
  }
  if (const std::string changed = before.put_back(); !changed.empty()) {
    log_warning(
        "while trials ran, something changed " + changed + " of the process" +
        (session.uses_foreign_plugins() ? ": " + joined(session.foreign_uses(), " or ") : "") +
        "; that is put back");
  }
  if (finished) prove(session, store, seconds_since(start));
  if (options.explain) print_costs(costs, session);
  const int code = conclude(store, options, planned, finished, seconds_since(start));
  if (notes) notes->finish(finished && !options.more_follows);
  return code;
}

int conclude(Store& store, const ExecutionOptions& options, std::int64_t planned, bool finished,
             double seconds) {
  const std::string directory = store.directory().string();
  const std::string go_on = command_to_go_on(store, options);
  if (finished && store.count_done() != planned) {
    throw Error(ExitCode::kPlugin,
                "the run came to its end with " + std::to_string(store.count_done()) + " of " +
                    std::to_string(planned) +
                    " trials stored: a thread that ran trials ended without a "
                    "word, which a plugin can do\n  what is stored is kept; go on "
                    "with: " +
                    go_on);
  }
  RunFacts facts = store.facts();
  facts.wall_s = facts.wall_s.value_or(0) + seconds;
  if (finished) facts.finished = now_text();
  finished ? store.finish(facts) : store.set_facts(facts);
  if (!finished) {
    log_warning("interrupted after " + std::to_string(store.count_done()) + " of " +
                std::to_string(planned) + " trials, all stored; go on with:\n  " + go_on);
    if (options.json) print_end_record(store, planned);
    return static_cast<int>(ExitCode::kInterrupted);
  }
  if (options.json) {
    print_end_record(store, planned);
    return 0;
  }
  if (!options.report) return 0;
  print_result("%s", report_text(summarise(store)).c_str());
  print_result("\nrun directory: %s\nnext: bitfall report %s\n", directory.c_str(),
               shell_word(directory).c_str());
  return 0;
}

void print_end_record(const Store& store, std::int64_t trials) {
  const RunFacts facts = store.facts();
  const bool finished = facts.finished.has_value();
  nlohmann::ordered_json record = {{"schema", "bitfall.run/1"},
                                   {"run", store.directory().string()},
                                   {"state", finished ? "finished" : "interrupted"},
                                   {"trials", trials},
                                   {"done", store.count_done()},
                                   {"digest", nullptr},
                                   {"wall_s", facts.wall_s.value_or(0)}};
  if (finished) record["digest"] = store.digest();
  print_result("%s\n", json_text(record).c_str());
}

void note_state(const Store& store, const std::filesystem::path& file, std::int64_t planned,
                bool finished) {
  StateNotes(store, file, planned).finish(finished);
}

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

}  // namespace bitfall
