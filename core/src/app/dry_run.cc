#include "dry_run.h"

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "bit_parts.h"
#include "error.h"
#include "json_file.h"
#include "log.h"
#include "numbers.h"
#include "output.h"
#include "output_folder.h"
#include "report_number.h"
#include "stop.h"
#include "stratified.h"
#include "text_table.h"
#include "timer.h"

namespace bitfall {
namespace {

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

/// Seconds that the database takes for one trial, by a few of them in a database of its own on the
/// disk that the campaign would go to, which is removed again; 0 where none can be made.
double store_seconds(const Session& session, const std::filesystem::path& output) {
  constexpr std::int64_t kTrials = 2000;
  const RunDescription run = session.describe();
  std::string folder = (nearest_existing(std::filesystem::absolute(output).parent_path()) /
                        ".bitfall-dry-run-XXXXXX")
                           .string();
  if (!::mkdtemp(folder.data())) return 0;
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

/// What a campaign would come to.
struct Outlook {
  const Session& session;
  double population = 0;  // faults x images; 0 where they are listed
  std::int64_t trials = 0;
  double seconds = 0;
  bool timed = false;  // seconds: by a part of the campaign; else what it takes at most

  double confidence() const { return session.campaign().confidence; }
  const std::string& site(const Stratum& stratum) const {
    return session.model().sites()[static_cast<std::size_t>(stratum.site)].name;
  }
  /// "bits 0-6" where an entry's faults are divided by bits, else empty.
  std::string bits(const Stratum& stratum) const {
    const auto& sampling = session.facts().sampling;
    const auto entry = static_cast<std::size_t>(stratum.entry);
    return sampling && entry < sampling->parts.size() ? to_string(sampling->parts[entry]) : "";
  }
  /// Draws are with replacement, so that a small population makes no interval narrower.
  double width(const Stratum& stratum, double p) const {
    const std::int64_t faults =
        stratum.permanent ? stratum.trials / session.dataset().size() : stratum.trials;
    return half_width(faults, confidence(), p, 0);
  }
};

void print_json(const Outlook& outlook) {
  nlohmann::ordered_json document = {{"schema", "bitfall.dry_run/1"},
                                     {"trials", outlook.trials},
                                     {"population", outlook.population},
                                     {"estimated_s", outlook.seconds},
                                     {"estimate", outlook.timed ? "timed" : "bound"},
                                     {"confidence", outlook.confidence()},
                                     {"images", outlook.session.dataset().size()}};
  for (const Stratum& stratum : outlook.session.plan().strata()) {
    document["strata"].push_back({{"entry", stratum.entry},
                                  {"site", outlook.site(stratum)},
                                  {"population", stratum.population},
                                  {"trials", stratum.trials},
                                  {"half_width_worst", outlook.width(stratum, 0.5)},
                                  {"half_width_at_1_percent", outlook.width(stratum, 0.01)}});
    const std::string bits = outlook.bits(stratum);
    if (!bits.empty()) document["strata"].back()["bits"] = bits;
  }
  print_result("%s\n", json_text(document).c_str());
}

void print_text(const Outlook& outlook) {
  TextTable table({{"site"},
                   {"population N", TextTable::kRight},
                   {"trials n", TextTable::kRight},
                   {"+- at 50 %", TextTable::kRight},
                   {"+- at 1 %", TextTable::kRight}});
  for (const Stratum& stratum : outlook.session.plan().strata()) {
    if (outlook.session.facts().sampling && stratum.population <= 0) continue;
    const std::string bits = outlook.bits(stratum);
    table.add({outlook.site(stratum) + (bits.empty() ? "" : " " + bits),
               stratum.population > 0 ? count_text(stratum.population) : "listed",
               std::to_string(stratum.trials), percent(outlook.width(stratum, 0.5), 2),
               percent(outlook.width(stratum, 0.01), 2)});
  }
  print_result("%s\n", table.render().c_str());
  const Campaign& campaign = outlook.session.campaign();
  print_result(
      "%lld trials of a population of %s (faults x images) on %d images; interval half-widths at "
      "%s confidence,\n"
      "if the rate is 50 %% (the widest) or 1 %%.\n"
      "%s %s on this machine: batch %lld, %lld workers of %lld threads. Nothing was "
      "written.\n",
      static_cast<long long>(outlook.trials),
      outlook.population > 0 ? count_text(outlook.population).c_str() : "listed faults",
      outlook.session.dataset().size(), percent(outlook.confidence(), 1).c_str(),
      outlook.timed ? "about" : "at most", duration_text(outlook.seconds).c_str(),
      static_cast<long long>(campaign.batch), static_cast<long long>(campaign.workers),
      static_cast<long long>(campaign.threads));
  const auto& sampling = outlook.session.facts().sampling;
  if (!sampling) return;
  print_result(
      "These are the pilot. Rounds follow, drawn by what it shows, until %s over %s is known to "
      "+-%s points\nor there are %lld trials; drawn alike, a rate of 2 %% would take %.0f.\n",
      sampling->of.c_str(), sampling->over_layers ? "layers" : "bits",
      exact_text(100 * sampling->halfwidth).c_str(), static_cast<long long>(sampling->maximum),
      simple_trials(0.02, sampling->halfwidth, sampling->confidence));
}

}  // namespace

int dry_run(Session& session, const std::filesystem::path& output, bool json) {
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
  Outlook outlook{session};
  for (const Stratum& stratum : session.plan().strata()) outlook.population += stratum.population;
  outlook.trials = session.engine().trials(session.plan());
  outlook.timed = session.plan().size() <= kMostPiloted;
  outlook.seconds =
      profile_s + *passes + store_seconds(session, output) * static_cast<double>(outlook.trials);
  json ? print_json(outlook) : print_text(outlook);
  return 0;
}

}  // namespace bitfall
