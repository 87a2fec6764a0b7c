// bitfall run, bitfall resume.
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "error.h"
#include "exact_text.h"
#include "log.h"
#include "progress.h"
#include "report.h"
#include "report_number.h"
#include "run_lock.h"
#include "session.h"
#include "shell_word.h"
#include "text_file.h"
#include "text_table.h"
#include "timer.h"

namespace bitfall {

std::atomic<bool> stop_requested{false};

namespace {

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

std::string duration_text(double seconds) {
  char text[48];
  if (seconds < 90)
    std::snprintf(text, sizeof text, "%.0f s", std::max(seconds, 1.0));
  else if (seconds < 5400)
    std::snprintf(text, sizeof text, "%.0f min", seconds / 60);
  else
    std::snprintf(text, sizeof text, "%.1f h", seconds / 3600);
  return text;
}

std::string count_text(double count) {
  char text[32];
  std::snprintf(text, sizeof text, count < 1e15 ? "%.0f" : "%.3g", count);
  return text;
}

/// Seconds that the database takes for one trial, by a few of them in a database of its own, which
/// is removed again; 0 where none can be made.
double store_seconds(const Session& session) {
  constexpr std::int64_t kTrials = 2000;
  const auto folder =
      std::filesystem::temp_directory_path() / ("bitfall-dry-run-" + std::to_string(::getpid()));
  const RunDescription run = session.describe();
  double seconds = 0;
  try {
    const auto store = Store::create(folder, run, session.campaign().commit_every);
    TrialResult result;
    const Trial first = session.plan().trial(0);
    result.entry = first.entry;
    result.site = first.site;
    for (const Edit& edit : session.plan().edits(first)) result.edits.push_back({.edit = edit});
    result.metrics.assign(run.metric_columns.size(), 0.1);
    const auto start = Clock::now();
    const std::int64_t count = std::min(kTrials, session.plan().size());
    for (; result.trial < count; ++result.trial) store->trial(result);
    store->commit();
    seconds = seconds_since(start) / static_cast<double>(count);
  } catch (const Error&) {
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return seconds;
}

int dry_run(Session& session, bool json) {
  const std::int64_t some =
      std::min<std::int64_t>(session.model().batch(), session.dataset().size());
  const auto start = Clock::now();
  const bool profiled = session.profile(stop_requested, some);
  const double profile_s =
      seconds_since(start) * session.dataset().size() / static_cast<double>(some);
  const auto passes = profiled ? session.engine().estimate_seconds(
                                     session.plan(), session.measure(), stop_requested)
                               : std::nullopt;
  if (!passes) {
    log_warning("interrupted; nothing was written");
    return static_cast<int>(ExitCode::kInterrupted);
  }
  const auto& sites = session.model().sites();
  const double confidence = session.campaign().confidence;
  const auto width = [&](const Stratum& stratum, double p) {
    // Draws are with replacement, so that a small population makes no interval narrower.
    const std::int64_t faults =
        stratum.permanent ? stratum.trials / session.dataset().size() : stratum.trials;
    return half_width(faults, confidence, p, 0);
  };
  double population = 0;
  for (const Stratum& stratum : session.plan().strata()) population += stratum.population;
  const std::int64_t trials = session.engine().trials(session.plan());
  const bool timed = session.plan().size() <= kMostPiloted;
  const double seconds = profile_s + *passes + store_seconds(session) * static_cast<double>(trials);
  if (json) {
    nlohmann::ordered_json document = {{"schema", "bitfall.dry_run/1"},
                                       {"trials", trials},
                                       {"population", population},
                                       {"estimated_s", seconds},
                                       {"estimate", timed ? "timed" : "bound"},
                                       {"confidence", confidence},
                                       {"images", session.dataset().size()}};
    for (const Stratum& stratum : session.plan().strata()) {
      document["strata"].push_back({{"entry", stratum.entry},
                                    {"site", sites[static_cast<std::size_t>(stratum.site)].name},
                                    {"population", stratum.population},
                                    {"trials", stratum.trials},
                                    {"half_width_worst", width(stratum, 0.5)},
                                    {"half_width_at_1_percent", width(stratum, 0.01)}});
    }
    std::printf("%s\n", document.dump(2).c_str());
    return 0;
  }
  TextTable table({{"site"},
                   {"population N", TextTable::kRight},
                   {"trials n", TextTable::kRight},
                   {"+- at 50 %", TextTable::kRight},
                   {"+- at 1 %", TextTable::kRight}});
  for (const Stratum& stratum : session.plan().strata()) {
    table.add({sites[static_cast<std::size_t>(stratum.site)].name,
               stratum.population > 0 ? count_text(stratum.population) : "listed",
               std::to_string(stratum.trials), percent(width(stratum, 0.5), 2),
               percent(width(stratum, 0.01), 2)});
  }
  std::printf("%s\n", table.render().c_str());
  std::printf(
      "%lld trials of a population of %s (faults x images) on %d images; interval half-widths at "
      "%s confidence,\n"
      "if the rate is 50 %% (the widest) or 1 %%.\n"
      "%s %s on this machine: batch %lld, %lld workers of %lld threads. Nothing was "
      "written.\n",
      static_cast<long long>(trials),
      population > 0 ? count_text(population).c_str() : "listed faults", session.dataset().size(),
      percent(confidence, 1).c_str(), timed ? "about" : "at most", duration_text(seconds).c_str(),
      static_cast<long long>(session.campaign().batch),
      static_cast<long long>(session.campaign().workers),
      static_cast<long long>(session.campaign().threads));
  return 0;
}

std::string rate_text(const EngineProgress& count, double confidence) {
  const Proportion rate = proportion(count.mismatches, count.done, confidence);
  char text[96];
  std::snprintf(text, sizeof text, "mismatch %.2f %% [%.2f, %.2f]", rate.rate * 100,
                rate.headline.low * 100, rate.headline.high * 100);
  return count.done > 0 ? text : "";
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
  add("whole steps behind the faults", costs.suffix_s);
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
  tell(costs.shared, "changed the same as another");
  tell(costs.carried, "were carried by the windows that they had reached, and " +
                          std::to_string(costs.died_in_regions) + " of them died out there");
  tell(costs.died, "died out before an expensive step of a pass");
  tell(costs.rows, "went to the end in " + std::to_string(costs.passes) + " passes (" +
                       share_of(costs.rows, costs.passes * batch) + " full)");
  if (costs.refused > 0) {
    tell(costs.refused,
         "kinds of step and window gave other bits than whole maps and were run whole");
  }
}

int execute(Session& session, Store& store, bool explain = false) {
  const auto start = std::chrono::steady_clock::now();
  const auto done = store.trials_done();
  const auto stored = store.golden_rows();
  std::vector<bool> golden_done(static_cast<std::size_t>(session.dataset().size()), false);
  for (const GoldenResult& row : stored) golden_done[static_cast<std::size_t>(row.image)] = true;
  const std::int64_t before = store.count_done();
  const std::int64_t planned = session.engine().trials(session.plan());
  Progress progress("trials", planned, before);
  const double confidence = session.campaign().confidence;
  bool finished = false;
  try {
    finished =
        session.engine().run(session.plan(), done, golden_done, session.measure(), store,
                             stop_requested, [&](const EngineProgress& count) {
                               progress.update(before + count.done, rate_text(count, confidence));
                             });
  } catch (const Error& error) {
    throw Error(error.code(),
                std::string(error.what()) +
                    "\n  what was stored before is kept; when this is mended: bitfall resume " +
                    shell_word(store.directory().string()));
  }
  store.commit();
  progress.finish();
  if (explain) print_costs(session.engine().costs(), session.campaign().batch);
  const double wall =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  RunFacts facts = store.facts();
  facts.wall_s = facts.wall_s.value_or(0) + wall;
  if (finished) facts.finished = now_text();
  store.set_facts(facts);
  const std::string directory = store.directory().string();
  if (!finished) {
    log_warning("interrupted after " + std::to_string(store.count_done()) + " of " +
                std::to_string(planned) + " trials, all stored; go on with:\n  bitfall resume " +
                shell_word(directory));
    return static_cast<int>(ExitCode::kInterrupted);
  }
  std::printf("%s", report_text(summarise(store)).c_str());
  std::printf("\nrun directory: %s\nnext: bitfall report %s\n", directory.c_str(),
              shell_word(directory).c_str());
  return 0;
}

// Throws before a profile of an hour, not after it, where the run's folder could not be made.
void prove_can_be_made(const std::filesystem::path& directory) {
  std::error_code ignored;
  auto there = std::filesystem::absolute(directory).lexically_normal();
  while (there.has_relative_path() && !std::filesystem::exists(there, ignored)) {
    there = there.parent_path();
  }
  const bool folder = std::filesystem::is_directory(there, ignored);
  if (folder && ::access(there.c_str(), W_OK | X_OK) == 0) return;
  throw Error(ExitCode::kFailure, directory.string() +
                                      ": cannot be made or written to: " + there.string() +
                                      (folder ? " may not be written to" : " is no folder") +
                                      "; give another with -o or [campaign] output");
}

// Only what a run writes; throws if another process is writing it.
void remove_run(const std::filesystem::path& directory) {
  if (!std::filesystem::exists(directory / "campaign.sqlite")) return;
  const RunLock lock(directory);
  for (const char* name : {"campaign.sqlite", "campaign.sqlite-wal", "campaign.sqlite-shm",
                           "campaign.toml", "faults.csv", "report.html"}) {
    std::filesystem::remove(directory / name);
  }
}

}  // namespace

namespace {

Shard shard_option(const std::string& text) {
  if (const auto shard = parse_shard(text)) return *shard;
  throw Error(ExitCode::kUsage, "--shard " + text +
                                    ": give I/N with I from 1 to N, such as 2/4 for the second of "
                                    "four parts");
}

}  // namespace

int run_command(const RunOptions& options) {
  const std::string text = read_text(options.campaign);
  std::optional<std::filesystem::path> faults;
  if (!options.faults.empty()) faults = options.faults;
  Session session(options.campaign, text, faults);
  std::filesystem::path output =
      options.output.empty() ? session.campaign().output : options.output;
  std::optional<Shard> shard;
  if (!options.shard.empty()) {
    shard = shard_option(options.shard);
    if (!session.names_shape()) {
      throw Error(ExitCode::kUsage,
                  options.campaign.string() +
                      ": the shards of a campaign must agree on [run] batch and threads; name them "
                      "in the file (this machine would choose batch = " +
                      std::to_string(session.campaign().batch) +
                      ", threads = " + std::to_string(session.campaign().threads) + ")");
    }
    session.engine().set_shard(shard->index - 1, shard->count);
    if (options.output.empty()) {
      output += "-" + std::to_string(shard->index) + "of" + std::to_string(shard->count);
    }
  }
  if (options.dry_run) return dry_run(session, options.json);
  if (std::filesystem::exists(output / "campaign.sqlite") && !options.force) {
    throw Error(ExitCode::kUsage,
                output.string() + ": holds a run already; go on with `bitfall resume " +
                    shell_word(output.string()) + "`, read it with `bitfall report " +
                    shell_word(output.string()) + "`, or replace it with --force");
  }
  prove_can_be_made(output);
  session.engine().preload(stop_requested);
  if (!session.profile(stop_requested)) {
    log_warning("interrupted before the first trial; nothing was written");
    return static_cast<int>(ExitCode::kInterrupted);
  }
  RunDescription run = session.describe();
  run.facts.created = now_text();
  run.facts.shard = shard;
  if (options.force) remove_run(output);
  const auto store = Store::create(output, run, session.campaign().commit_every);
  log_info(std::to_string(session.engine().trials(session.plan())) + " trials on " +
           std::to_string(session.dataset().size()) + " images into " + output.string() +
           (shard ? ", shard " + to_string(*shard) : ""));
  return execute(session, *store, options.explain);
}

namespace {

// A stored run's session, with its own thread count.
std::unique_ptr<Session> reopen(const std::filesystem::path& run, const RunDescription& stored) {
  std::optional<std::filesystem::path> faults;
  if (!stored.fault_list_text.empty()) faults = run / "faults.csv";
  const RunFacts& facts = stored.facts;
  return std::make_unique<Session>(facts.campaign_file, stored.campaign_text, faults,
                                   Tuning{facts.batch, facts.threads, facts.workers, ""});
}

std::string hex(std::uint32_t code) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%x", code);
  return text;
}

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

bool same_result(const TrialResult& a, const TrialResult& b) {
  bool equal = a.outcome == b.outcome && a.activated == b.activated &&
               same(a.golden_loss, b.golden_loss) && same(a.faulty_loss, b.faulty_loss) &&
               a.golden_top1 == b.golden_top1 && a.faulty_top1 == b.faulty_top1 &&
               a.edits.size() == b.edits.size() && a.metrics.size() == b.metrics.size();
  for (std::size_t i = 0; equal && i < a.metrics.size(); ++i)
    equal = same(a.metrics[i], b.metrics[i]);
  for (std::size_t i = 0; equal && i < a.edits.size(); ++i) {
    const EditRecord &x = a.edits[i], &y = b.edits[i];
    equal = x.edit.element == y.edit.element && x.edit.mask == y.edit.mask &&
            x.edit.register_index == y.edit.register_index &&
            x.edit.operation == y.edit.operation && x.code_before == y.code_before &&
            x.code_after == y.code_after && same(x.value_before, y.value_before) &&
            same(x.value_after, y.value_after);
  }
  return equal;
}

std::string bits_text(std::uint32_t mask) {
  std::string text;
  for (int bit = 0; bit < 32; ++bit) {
    if (mask >> bit & 1) text += (text.empty() ? "" : ", ") + std::to_string(bit);
  }
  return text;
}

}  // namespace

int resume_command(const std::filesystem::path& run) {
  std::unique_ptr<Store> store = Store::open(run, 256);
  const RunDescription stored = store->description();
  const std::optional<Shard>& shard = stored.facts.shard;
  const bool whole = store->count_done() == stored.trials;
  if (stored.facts.finished && (whole || shard)) {
    std::printf("%s: finished already, %lld trials; read it with: bitfall report %s\n", run.c_str(),
                static_cast<long long>(store->count_done()), shell_word(run.string()).c_str());
    return 0;
  }
  const auto session = reopen(run, stored);
  check_same_facts(stored.facts, session->facts());
  session->use_profiles(stored.profiles);
  if (session->plan().size() != stored.trials) {
    throw Error(ExitCode::kInput, run.string() + ": planned " + std::to_string(stored.trials) +
                                      " trials then, " + std::to_string(session->plan().size()) +
                                      " now; the run cannot go on");
  }
  if (shard) session->engine().set_shard(shard->index - 1, shard->count);
  const std::int64_t planned = session->engine().trials(session->plan());
  log_info("going on with " + std::to_string(planned - store->count_done()) + " of " +
           std::to_string(planned) + " trials");
  return execute(*session, *store);
}

int replay_command(const std::filesystem::path& run, std::int64_t trial, bool json) {
  const auto store = Store::open_read_only(run);
  const RunDescription stored = store->description();
  if (trial < 0 || trial >= stored.trials) {
    throw Error(ExitCode::kUsage, "trial " + std::to_string(trial) + ": this run has trials 0 to " +
                                      std::to_string(stored.trials - 1));
  }
  const TrialResult before = store->read_trial(trial);
  const auto session = reopen(run, stored);
  try {
    check_same_facts(stored.facts, session->facts());
  } catch (const Error& error) {
    log_warning(error.what());
  }
  session->use_profiles(stored.profiles);
  const TrialResult now = session->engine().run_one(session->plan(), trial, session->measure());
  const bool equal = same_result(before, now);
  const Site& site = session->model().sites()[static_cast<std::size_t>(now.site)];
  const auto& classes = session->dataset().classes();
  const auto class_name = [&](std::int32_t index) {
    const auto place = static_cast<std::size_t>(index);
    return place < classes.size() ? std::to_string(index) + " (" + classes[place] + ")"
                                  : std::to_string(index);
  };
  const std::int32_t label = session->dataset().label(now.image);
  if (json) {
    nlohmann::ordered_json document = {{"schema", "bitfall.replay/1"},
                                       {"trial", trial},
                                       {"site", site.name},
                                       {"target", to_string(site.target)},
                                       {"image", session->dataset().name(now.image)},
                                       {"label", label},
                                       {"outcome", to_string(now.outcome)},
                                       {"activated", now.activated},
                                       {"golden_loss", now.golden_loss},
                                       {"faulty_loss", now.faulty_loss},
                                       {"golden_top1", now.golden_top1},
                                       {"faulty_top1", now.faulty_top1},
                                       {"equals_stored", equal}};
    for (const EditRecord& record : now.edits) {
      const Register& kind = session->format(now.site)
                                 .registers()[static_cast<std::size_t>(record.edit.register_index)];
      document["edits"].push_back({{"element", record.edit.element},
                                   {"register", kind.name},
                                   {"op", to_string(record.edit.operation)},
                                   {"mask", hex(record.edit.mask)},
                                   {"code_before", hex(record.code_before)},
                                   {"code_after", hex(record.code_after)},
                                   {"value_before", record.value_before},
                                   {"value_after", record.value_after}});
    }
    std::printf("%s\n",
                document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return equal ? 0 : static_cast<int>(ExitCode::kFailure);
  }
  std::printf("trial     %lld\nsite      %s (%s, %s)\nimage     %s, label %s\nformat    %s\n",
              static_cast<long long>(trial), site.name.c_str(), to_string(site.target),
              site.operation.c_str(), session->dataset().name(now.image).c_str(),
              class_name(label).c_str(), session->format_name(now.site).c_str());
  for (const EditRecord& record : now.edits) {
    const Register& kind =
        session->format(now.site).registers()[static_cast<std::size_t>(record.edit.register_index)];
    std::string what = to_string(record.edit.operation);
    if (is_real(record.edit.operation))
      what += " " + exact_text(record.edit.value);
    else if (record.edit.operation == EditOperation::kWrite)
      what += " " + hex(record.edit.mask);
    else
      what += " bit " + bits_text(record.edit.mask);
    std::printf("edit      %s %lld, %s\n  code    %s -> %s\n  value   %s -> %s\n", kind.name,
                static_cast<long long>(record.edit.element), what.c_str(),
                hex(record.code_before).c_str(), hex(record.code_after).c_str(),
                exact_text(record.value_before).c_str(), exact_text(record.value_after).c_str());
  }
  std::printf("outcome   %s%s\nloss      %s -> %s nats\ntop-1     %s -> %s\n",
              to_string(now.outcome), now.activated ? "" : " (no value at the site changed)",
              exact_text(now.golden_loss).c_str(), exact_text(now.faulty_loss).c_str(),
              class_name(now.golden_top1).c_str(), class_name(now.faulty_top1).c_str());
  for (std::size_t i = 0; i < now.metrics.size(); ++i) {
    std::printf("metric    %s = %s\n", session->columns()[i].name.c_str(),
                exact_text(now.metrics[i]).c_str());
  }
  if (equal) {
    std::printf("equal to the stored trial, every bit\n");
    return 0;
  }
  std::printf("DIFFERS from the stored trial: outcome %s, loss %s -> %s, top-1 %d -> %d\n",
              to_string(before.outcome), exact_text(before.golden_loss).c_str(),
              exact_text(before.faulty_loss).c_str(), before.golden_top1, before.faulty_top1);
  return static_cast<int>(ExitCode::kFailure);
}

}  // namespace bitfall
