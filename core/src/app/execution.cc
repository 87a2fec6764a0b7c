#include "execution.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>

#include "error.h"
#include "log.h"
#include "plugin_calls.h"
#include "progress.h"
#include "report.h"
#include "report_number.h"
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
void print_costs(const EngineCosts& costs, std::int64_t batch) {
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
  std::printf("\n%s\n", table.render().c_str());
  if (costs.workers > 1) {
    std::printf("Seconds of %lld workers together; the run took %.2f.\n",
                static_cast<long long>(costs.workers), costs.total_s);
  }
  const auto share_of = [](std::int64_t part, std::int64_t whole) {
    return percent(whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0, 0);
  };
  std::printf("%lld chunks of %lld images. Of the trials\n", static_cast<long long>(costs.chunks),
              static_cast<long long>(batch));
  const auto tell = [](std::int64_t count, const std::string& what) {
    std::printf("%12lld %s\n", static_cast<long long>(count), what.c_str());
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
    std::printf(
        "LibTorch was asked for %s operators a pass, golden passes and windows included, and for "
        "%s "
        "copies between host and device.\n",
        each(costs.operators).c_str(), each(costs.device_copies).c_str());
  }
  if (costs.refused > 0) {
    tell(costs.refused,
         "kinds of step and window gave other bits than whole maps and were run whole");
  }
}

}  // namespace

int execute(Session& session, Store& store, bool explain, bool report) {
  const auto start = Clock::now();
  const auto done = store.trials_done();
  const auto stored = store.golden_rows();
  std::vector<bool> golden_done(static_cast<std::size_t>(session.dataset().size()), false);
  for (const GoldenResult& row : stored) golden_done[static_cast<std::size_t>(row.image)] = true;
  session.engine().expect_golden(stored);
  const std::int64_t before = store.count_done();
  const std::int64_t planned = session.engine().trials(session.plan());
  Progress progress("trials", planned, before);
  const double confidence = session.campaign().confidence;
  WatchLimits limits;
  limits.limit_s = session.campaign().plugin_limit;
  limits.warn_s = std::min(limits.warn_s, limits.limit_s / 2);
  const PluginWatch watch("what was stored before is kept; when this is fixed: bitfall resume " +
                              shell_word(store.directory().string()),
                          stop_requested, limits);
  if (explain) session.engine().count_traffic();
  bool finished = false;
  try {
    before > 0 ? replay_stored(session, store) : replay_ahead(session);
    finished =
        session.engine().run(session.plan(), done, golden_done, session.measure(), store,
                             stop_requested, [&](const EngineProgress& count) {
                               progress.update(before + count.done, rate_text(count, confidence));
                             });
  } catch (const Error& error) {
    const std::string what = error.what();
    std::error_code absent;
    const bool told = what.find("bitfall resume ") != what.npos;
    if (told || !std::filesystem::exists(store.directory() / "campaign.sqlite", absent)) throw;
    throw Error(error.code(),
                what + "\n  what was stored before is kept; when this is fixed: bitfall resume " +
                    shell_word(store.directory().string()));
  }
  store.commit();
  progress.finish();
  if (finished) {
    try {
      replay_stored(session, store);
    } catch (const Error& error) {
      throw Error(error.code(), std::string(error.what()) +
                                    "\n  the results cannot be relied on; they are kept in " +
                                    store.directory().string());
    }
  }
  if (explain) print_costs(session.engine().costs(), session.campaign().batch);
  RunFacts facts = store.facts();
  facts.wall_s = facts.wall_s.value_or(0) + seconds_since(start);
  if (finished) facts.finished = now_text();
  finished ? store.finish(facts) : store.set_facts(facts);
  const std::string directory = store.directory().string();
  if (!finished) {
    log_warning("interrupted after " + std::to_string(store.count_done()) + " of " +
                std::to_string(planned) + " trials, all stored; go on with:\n  bitfall resume " +
                shell_word(directory));
    return static_cast<int>(ExitCode::kInterrupted);
  }
  if (!report) return 0;
  std::printf("%s", report_text(summarise(store)).c_str());
  std::printf("\nrun directory: %s\nnext: bitfall report %s\n", directory.c_str(),
              shell_word(directory).c_str());
  return 0;
}

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

}  // namespace bitfall
