// bitfall status, report, export: they read a run and rerun nothing.
#include <boost/dll/runtime_symbol_info.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "atomic_file.h"
#include "commands.h"
#include "error.h"
#include "report.h"
#include "shell_word.h"
#include "store.h"
#include "text_file.h"

namespace bitfall {

std::optional<std::string> vega_bundle() {
  const auto program = std::filesystem::path(boost::dll::program_location().string());
  const auto path = program.parent_path().parent_path() / BITFALL_SHARE_DIR / "vega-bundle.js";
  if (!std::filesystem::exists(path)) return std::nullopt;
  return read_text(path);
}

int status_command(const std::filesystem::path& run, bool json) {
  const auto store = Store::open_read_only(run);
  const RunDescription description = store->description();
  const RunFacts& facts = description.facts;
  const std::int64_t done = store->count_done();
  const bool finished = facts.finished.has_value();
  const std::string digest = store->digest();
  if (json) {
    nlohmann::ordered_json document = {{"schema", "bitfall.status/1"},
                                       {"run", run.string()},
                                       {"trials", description.trials},
                                       {"done", done},
                                       {"finished", finished},
                                       {"digest", digest},
                                       {"facts", told(facts)}};
    std::printf("%s\n",
                document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return 0;
  }
  std::printf("run       %s\nstate     %s\ntrials    %lld of %lld\n", run.c_str(),
              finished                     ? "finished"
              : done == description.trials ? "all trials done, not closed"
                                           : "unfinished",
              static_cast<long long>(done), static_cast<long long>(description.trials));
  std::string format = facts.format;
  if (!facts.format_options.empty()) format += " (" + facts.format_options + ")";
  if (!facts.site_formats.empty()) format += "; " + told(facts).at("site_formats");
  if (!facts.calibration.empty()) format += "; calibrated: " + facts.calibration;
  std::printf(
      "model     %s\ndata      %s (%lld images)\nformat    %s\nfaults    %s\nseed      %llu\n"
      "digest    %s\n",
      facts.model_path.c_str(), facts.data_path.c_str(), static_cast<long long>(facts.images),
      format.c_str(), error_models_text(facts).c_str(),
      static_cast<unsigned long long>(facts.seed), digest.c_str());
  if (!finished) std::printf("next      bitfall resume %s\n", shell_word(run).c_str());
  return 0;
}

int report_command(const ReportOptions& options) {
  const auto store = Store::open_read_only(options.run);
  const ReportData data = summarise(*store);
  if (options.charts) {
    std::printf("%s\n", report_charts_json(data).c_str());
    return 0;
  }
  const std::filesystem::path html =
      options.html.empty() ? options.run / "report.html" : options.html;
  write_report_html(data, vega_bundle(), html);
  if (options.json)
    std::printf("%s", report_json(data).c_str());
  else if (options.markdown)
    std::printf("%s", report_markdown(data).c_str());
  else
    std::printf("%s", report_text(data).c_str());
  std::fprintf(options.json || options.markdown ? stderr : stdout, "\nreport: %s\n", html.c_str());
  return 0;
}

int export_command(const std::filesystem::path& run, ExportFormat format,
                   const std::filesystem::path& output) {
  const auto store = Store::open_read_only(run);
  std::ofstream file;
  if (!output.empty()) {
    if (std::filesystem::is_regular_file(output)) prove_replaceable(output);
    file.open(output, std::ios::binary);
    if (!file) throw Error(ExitCode::kFailure, output.string() + ": cannot be written");
  }
  std::ostream& out = output.empty() ? std::cout : file;
  if (format == ExportFormat::kCsv) export_csv(*store, out);
  if (format == ExportFormat::kJsonl) export_jsonl(*store, out);
  if (format == ExportFormat::kFaults) export_faults(*store, out);
  out.flush();
  if (!out)
    throw Error(ExitCode::kFailure,
                (output.empty() ? "standard output" : output.string()) + ": write failed");
  return 0;
}

}  // namespace bitfall
