#include "plugin_check.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <thread>

#include "about_checks.h"
#include "any_kind_checks.h"
#include "check_subject.h"
#include "error.h"
#include "json_file.h"
#include "numbers.h"
#include "openmp_pool.h"
#include "plugin_host.h"
#include "plugin_note.h"
#include "process_state.h"
#include "sha256.h"
#include "text_table.h"
#include "timer.h"
#include "words.h"

namespace bitfall {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr std::array kKinds = {ComponentKind::kFormat, ComponentKind::kErrorModel,
                               ComponentKind::kMetric, ComponentKind::kHeadInit,
                               ComponentKind::kProtection};

std::vector<Check> checks_of_kind(ComponentKind kind) {
  switch (kind) {
    case ComponentKind::kFormat:
      return format_checks();
    case ComponentKind::kErrorModel:
      return error_model_checks();
    case ComponentKind::kMetric:
      return metric_checks();
    case ComponentKind::kHeadInit:
      return head_checks();
    case ComponentKind::kProtection:
      return protection_checks();
  }
  return {};
}

constexpr const char* kFile = "file";
constexpr std::array<std::pair<const char*, const char*>, 5> kFileChecks = {{
    {"loads", "it is loaded and registered, its entry and its options hold together"},
    {"about", "licence (an SPDX expression), address and citation are what they should be"},
    {"needs", "tells the libraries that a machine must have, and how new; none by its path"},
    {"quiet", "loading leaves signals, locale, working directory and standard output alone"},
    {"quick", "loading takes less than half a second of the processor"},
}};

double processor_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

constexpr std::string_view kChanges = "changes the process";

/// Throws what of the process is another than before.
void refuse_changes(const ProcessState& before, const std::string& when) {
  if (const std::string changed = before.put_back(); !changed.empty()) {
    throw CheckFailure(std::string(kChanges) + when + ": " + changed);
  }
}

class Checker {
 public:
  Checker(const CheckRequest& request, const std::function<void(const CheckResult&)>& tell)
      : request_(request), tell_(tell), only_(pattern(request.only)) {
    report_.file = request.file;
    report_.seed = request.seed;
    report_.sha256 = sha256_file(request.file);
  }

  CheckReport run() {
    load_others();
    const ChildEnd loaded = run_in_child([this] { return loaded_components(); }, request_.limits);
    if (loaded.verdict != CheckVerdict::kPass) {
      add(kFile, kFileChecks[0].first, loaded);  // whatever is asked for: nothing else can be tried
      return report_;
    }
    const Json components = Json::parse(loaded.text);
    require_options(components);
    check_file(loaded);
    for (const Json& component : components) begin_reload(component);
    const Clock::time_point begun = Clock::now();
    for (const Json& component : components) check_component(component);
    if (!before_.empty()) std::this_thread::sleep_until(begun + std::chrono::milliseconds(1100));
    for (const Json& component : components) end_reload(component);
    if (report_.results.empty()) {
      throw Error(ExitCode::kUsage, "--only " + in_quotes(request_.only) +
                                        " matches no check; see 'bitfall plugin check --list'");
    }
    return report_;
  }

 private:
  static std::regex pattern(const std::string& text) {
    try {
      return std::regex(text);
    } catch (const std::regex_error& error) {
      throw Error(ExitCode::kUsage,
                  "--only " + in_quotes(text) + " is not a regular expression: " + error.what());
    }
  }

  /// What the file's components may stand on, and must not be confused with.
  void load_others() {
    host_.leave_looking();  // "written" and "deterministic" look themselves
    std::error_code error;
    std::vector<fs::path> files;
    for (fs::directory_iterator entry(default_plugin_folder(), error), end; !error && entry != end;
         entry.increment(error)) {
      const bool own = comes_with_the_program(entry->path());
      if (own && sha256_file(entry->path()) != report_.sha256) files.push_back(entry->path());
    }
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) host_.try_load(file);
  }

  /// In a child. Index of the plugin.
  std::size_t load() {
    for (const fs::path& other : request_.plugins) host_.load(other);
    now_trying("to load it");
    const std::string opening = "plugin " + request_.file.string() + " is refused: ";
    try {
      host_.load(request_.file);
    } catch (const Error& error) {
      std::string text = error.what();
      if (text.starts_with(opening)) text.erase(0, opening.size());
      throw CheckFailure(text);
    }
    for (std::size_t i = 0; i < host_.plugins().size(); ++i) {
      if (host_.plugins()[i].sha256 == report_.sha256) return i;
    }
    throw CheckFailure("changed while it was looked at");
  }

  std::string loaded_components() {
    const std::size_t plugin = load();
    Json components = Json::array();
    for (const ComponentDescription& component : host_.components()) {
      if (component.plugin != plugin) continue;
      Json names = Json::array();
      for (const OptionSpec& spec : component.options) names.push_back(spec.name);
      components.push_back({{"kind", static_cast<int>(component.kind)},
                            {"id", component.id},
                            {"options", std::move(names)}});
    }
    return json_text(components, -1);
  }

  void require_options(const Json& components) {
    std::vector<std::string> known;
    for (const Json& component : components) {
      for (const Json& option : component["options"]) known.push_back(option.get<std::string>());
    }
    for (const std::string& given : request_.options) {
      const auto equals = given.find('=');
      const std::string name(trimmed(given.substr(0, equals)));
      std::string problem;
      if (equals == given.npos) {
        problem = "give KEY=VALUE";
      } else if (std::find(known.begin(), known.end(), name) == known.end()) {
        const std::string near = did_you_mean(name, known);
        problem = "no component of the file has an option " + in_quotes(name) +
                  (near.empty() ? "" : ", " + near);
      } else {
        continue;
      }
      throw Error(ExitCode::kUsage, "--options " + given + ": " + problem);
    }
    if (request_.options.empty()) return;
    const ChildEnd read = run_in_child(
        [this] {
          const std::size_t plugin = load();
          for (const ComponentDescription& component : host_.components()) {
            if (component.plugin == plugin) {
              const Subject values(host_, component, request_.options, request_.seed);
            }
          }
          return std::string();
        },
        request_.limits);
    if (read.verdict != CheckVerdict::kPass) throw Error(ExitCode::kUsage, read.text);
  }

  bool wanted(const std::string& subject, const char* check) const {
    return std::regex_search(subject + " " + check, only_);
  }

  void add(const std::string& subject, const char* check, const ChildEnd& end) {
    report_.results.push_back({subject, check, end.verdict, end.text, end.seconds});
    tell_(report_.results.back());
  }

  void check_file(const ChildEnd& loaded) {
    if (wanted(kFile, "loads")) add(kFile, "loads", {loaded.verdict, "", loaded.seconds});
    if (wanted(kFile, "about")) {
      add(kFile, "about", run_in_child([this] { return about(); }, request_.limits));
    }
    if (wanted(kFile, "needs")) add(kFile, "needs", needs());
    if (wanted(kFile, "quiet")) {
      add(kFile, "quiet",
          run_in_child(
              [this] {
                const ProcessState before;
                load();
                refuse_changes(before, " while it is loaded");
                return std::string();
              },
              request_.limits));
    }
    if (wanted(kFile, "quick")) {
      add(kFile, "quick",
          run_in_child(
              [this] {
                const double start = processor_seconds();
                load();
                const double took = processor_seconds() - start;
                if (took > 0.5) throw CheckFailure("takes " + short_text(took) + " s to load");
                return std::string();
              },
              request_.limits));
    }
  }

  /// In a child. Throws what is wrong.
  std::string about() {
    const PluginDescription& plugin = host_.plugins()[load()];
    for (const auto& [text, problem] :
         {std::pair(&plugin.licence, &licence_problem), std::pair(&plugin.url, &url_problem),
          std::pair(&plugin.cite, &citation_problem)}) {
      if (text->empty()) continue;
      if (const std::string told = problem(*text); !told.empty()) throw CheckFailure(told);
    }
    return plugin.licence.empty()
               ? "no licence is told (About::licence): nobody may use or share it"
               : plugin.licence;
  }

  ChildEnd needs() const {
    const std::vector<LibraryNeed> all = library_needs(request_.file);
    for (const LibraryNeed& need : all) {
      if (need.library.find('/') == need.library.npos) continue;
      return {CheckVerdict::kFail, "is linked with " + in_quotes(need.library) +
                                       ", which other machines do not have at that place"};
    }
    return {CheckVerdict::kPass, needs_text(all)};
  }

  struct Place {
    ComponentKind kind;
    std::string id;
    std::string subject;  // "format/nf4"
  };
  static Place place_of(const Json& told) {
    const auto kind = static_cast<ComponentKind>(whole_number(told["kind"]));
    const std::string id = told["id"];
    return {kind, id, std::string(to_string(kind)) + "/" + id};
  }

  ChildEnd run(const Check& check, const Place& place, const ChildLimits& limits, bool changes) {
    ChildEnd end = run_in_child(
        [&] {
          load();
          const Subject tried(host_, *host_.find(place.kind, place.id), request_.options,
                              request_.seed, request_.classes);
          now_trying("");
          const ProcessState before;
          const bool openmp = uses_openmp(request_.file);
          if (openmp) widen_pool();
          check.run(tried);
          if (openmp && !put_back_pool()) {
            throw CheckFailure(
                "changes how the processor computes in threads of OpenMP's pool, on which networks "
                "run: each thread of a parallel region puts that back");
          }
          if (!changes) refuse_changes(before, " in its calls");
          return noted();
        },
        limits);
    shorten(end.text, place.kind, place.id);
    return end;
  }

  static Check reload_of(ComponentKind kind) {
    const auto all = checks_of_kind(kind);
    return *std::find_if(all.begin(), all.end(),
                         [](const Check& one) { return one.name == std::string_view(kReload); });
  }

  void begin_reload(const Json& told) {
    const Place place = place_of(told);
    if (!wanted(place.subject, kReload)) return;
    before_[place.subject] = run(reload_of(place.kind), place, request_.limits, true);
  }

  void end_reload(const Json& told) {
    const Place place = place_of(told);
    const auto before = before_.find(place.subject);
    if (before == before_.end()) return;
    ChildEnd end = before->second;
    if (end.verdict == CheckVerdict::kPass) {
      end = run(reload_of(place.kind), place, request_.limits, true);
    }
    if (end.verdict == CheckVerdict::kPass) {
      const std::vector<std::string> then = split(before->second.text, '\n'),
                                     now = split(end.text, '\n');
      const auto differs = std::mismatch(then.begin(), then.end(), now.begin(), now.end()).first;
      end.text.clear();
      if (differs != then.end()) {
        end.verdict = CheckVerdict::kFail;
        end.text =
            "gives another result in a process that loads it anew (a clock, a process number, an "
            "environment variable?): " +
            differs->substr(0, differs->find('\t'));
      }
    }
    add(place.subject, kReload, end);
  }

  void check_component(const Json& told) {
    const Place place = place_of(told);
    ChildLimits limits = request_.limits;
    bool changes = false;  // told once
    for (const Check& check : checks_of_kind(place.kind)) {
      if (check.name == std::string_view(kReload) || !wanted(place.subject, check.name)) continue;
      const ChildEnd end = run(check, place, limits, changes);
      if (end.verdict == CheckVerdict::kHang) {
        limits.call_s = std::min(limits.call_s, 1.0);  // it will again
        limits.total_s = std::min(limits.total_s, 5.0);
      }
      changes |= end.text.starts_with(kChanges);
      add(place.subject, check.name, end);
    }
  }

  /// "metric 'x' of plugin y failed in measure" -> "failed in measure": the line names the
  /// component.
  void shorten(std::string& text, ComponentKind kind, const std::string& id) const {
    const std::string who = std::string(to_string(kind)) + " " + in_quotes(id) + " of plugin ";
    if (!text.starts_with(who)) return;
    const auto end = text.find(' ', who.size());
    if (end != text.npos) text.erase(0, end + 1);
  }

  const CheckRequest& request_;
  const std::function<void(const CheckResult&)>& tell_;
  std::regex only_;
  PluginHost host_;  // of the program's own plugins; children load the file
  CheckReport report_;
  std::map<std::string, ChildEnd> before_;  // what "reload" noted of each subject at the beginning
};

}  // namespace

std::size_t CheckReport::failures() const {
  return static_cast<std::size_t>(std::count_if(results.begin(), results.end(), [](const auto& r) {
    return r.verdict != CheckVerdict::kPass;
  }));
}

CheckReport check_plugin(const CheckRequest& request,
                         const std::function<void(const CheckResult&)>& tell) {
  return Checker(request, tell).run();
}

std::string check_line(const CheckResult& result) {
  const auto padded = [](std::string text, std::size_t width) {
    text.resize(std::max(text.size() + 1, width), ' ');
    return text;
  };
  std::string line =
      padded(result.subject, 28) + padded(result.check, 14) + to_string(result.verdict);
  if (!result.detail.empty()) line += "  " + result.detail;
  return line + "\n";
}

std::string check_summary(const CheckReport& report) {
  double seconds = 0;
  for (const CheckResult& result : report.results) seconds += result.seconds;
  char time[32];
  std::snprintf(time, sizeof time, "%.1f s", seconds);
  const std::string count = std::to_string(report.results.size());
  const std::size_t failures = report.failures();
  return count + (count == "1" ? " check" : " checks") +
         (failures == 0 ? ", all passed, " : ", " + std::to_string(failures) + " not passed, ") +
         time + "\n";
}

std::string check_json(const CheckReport& report) {
  Json checks = Json::array();
  for (const CheckResult& result : report.results) {
    checks.push_back({{"subject", result.subject},
                      {"check", result.check},
                      {"verdict", to_string(result.verdict)},
                      {"detail", result.detail},
                      {"seconds", result.seconds}});
  }
  const Json document = {{"schema", "bitfall.plugin_check/1"},
                         {"file", report.file.string()},
                         {"sha256", report.sha256},
                         {"seed", report.seed},
                         {"checks", std::move(checks)},
                         {"failures", report.failures()}};
  return json_text(document) + "\n";
}

std::string check_list() {
  TextTable table({{"of"}, {"check"}, {"what it looks at"}});
  for (const auto& [name, promise] : kFileChecks) table.add({kFile, name, promise});
  for (const ComponentKind kind : kKinds) {
    for (const Check& check : checks_of_kind(kind)) {
      table.add({to_string(kind), check.name, check.promise});
    }
  }
  return table.render();
}

}  // namespace bitfall
