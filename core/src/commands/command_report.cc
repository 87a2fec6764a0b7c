// bitfall report: a run's tables and page.
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <optional>

#include "chart_pictures.h"
#include "error.h"
#include "file_commands.h"
#include "fit.h"
#include "gate.h"
#include "html_page.h"
#include "log.h"
#include "numbers.h"
#include "output.h"
#include "report.h"
#include "report_text.h"
#include "store.h"
#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

class ReportCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("report", "print a run's tables and write its HTML page");
    app->add_option("run", run_, "the run directory")->required();
    app->add_option("--html", html_, "where to write the page (default: RUN/report.html)");
    app->add_option(
           "--fit", fit_,
           "raw rate of upsets per bit (FIT per bit, such as 1e-4): adds failures in time by "
           "layer and network")
        ->check(CLI::Validator(
            [](const std::string& text) {
              const auto rate = parse_number(text);
              return rate && std::isfinite(*rate) && *rate > 0
                         ? std::string()
                         : "'" + text + "' is no rate; give a number above 0, such as 1e-4";
            },
            "RATE"));
    app->add_option("--only", only_,
                    "`correct`: count trials on images that are right without a fault alone")
        ->check(CLI::IsMember({"all", "correct"}));
    app->add_flag("--json", json_, "JSON on stdout");
    app->add_flag("--markdown", markdown_, "a markdown table on stdout");
    app->add_flag("--metrics", metrics_,
                  "every column of every metric by layer and bit class, with intervals, on stdout; "
                  "write nothing");
    app->add_flag("--charts", charts_,
                  "the page's Vega-Lite charts as JSON on stdout; write nothing");
    app->add_option("--png", png_, "a folder: the page's charts as PNG files; write nothing else");
    app->add_option("--confidence", confidence_, "of all intervals (default: the campaign's)")
        ->check(number_between(0.5, 0.999999));
    app->add_option(
           "--fail-if", gates_,
           "exit with 5 unless the whole interval is on the good side of 'mismatch > 3 %'; "
           "also due, nonfinite, misclassified, accuracy and columns of metrics; may be "
           "repeated")
        ->allow_extra_args(false);
    return app;
  }
  int run() override;

 private:
  int judge_all(const ReportData& data, const std::vector<Gate>& gates) const;

  std::filesystem::path run_;
  std::filesystem::path html_;  // empty = RUN/report.html
  std::optional<double> fit_;
  std::string only_ = "all";
  bool json_ = false;
  bool markdown_ = false;
  bool metrics_ = false;
  bool charts_ = false;        // print the Vega-Lite specs
  std::filesystem::path png_;  // folder of pictures; empty = none
  std::optional<double> confidence_;
  std::vector<std::string> gates_;
};

int ReportCommand::judge_all(const ReportData& data, const std::vector<Gate>& gates) const {
  bool fails = false;
  for (const Gate& gate : gates) {
    const GateVerdict verdict = judge(data, gate);
    fails |= verdict.fails;
    std::fprintf(stderr, "bitfall: %s: %s\n", verdict.fails ? "gate failed" : "gate passed",
                 verdict.text.c_str());
  }
  if (!fails) return 0;
  if (!data.worst.empty()) {
    std::fprintf(stderr, "  the worst trial: bitfall replay %s --trial %lld\n",
                 shell_word(data.directory).c_str(), static_cast<long long>(data.worst[0].trial));
  }
  return static_cast<int>(ExitCode::kGate);
}

int ReportCommand::run() {
  std::vector<Gate> gates;  // before all trials are read
  for (const std::string& text : gates_) gates.push_back(parse_gate(text));
  const auto store = Store::open_read_only(run_);
  SummaryOptions options;
  options.confidence = confidence_;
  if (only_ == "correct") options.images = right_answers(*store);
  ReportData data = summarise(*store, options);
  data.protections = protection_rows(run_, options);
  std::optional<FitReport> failures;
  if (fit_) failures = fit_report(data, *fit_);
  const FitReport* fit = failures ? &*failures : nullptr;
  if (charts_) {
    print_result("%s\n", report_charts_json(data).c_str());
    return judge_all(data, gates);
  }
  if (metrics_) {
    print_result("%s", printable(table_text(metrics_in_full(data), 110)).c_str());
    return judge_all(data, gates);
  }
  if (!png_.empty()) {
    write_chart_pictures(report_charts_json(data), png_);
    return judge_all(data, gates);
  }
  const std::filesystem::path html = html_.empty() ? run_ / "report.html" : html_;
  if (html_.empty()) prove_own_page(html, "give another name with --html FILE");
  if (!html_.empty()) write_report_html(data, vega_bundle(), html, fit);
  if (json_)
    print_result("%s", report_json(data, fit).c_str());
  else if (markdown_)
    print_result("%s", report_markdown(data, fit).c_str());
  else
    print_result("%s", report_text(data, 110, fit).c_str());
  if (html_.empty()) {  // nobody asked for it here: the tables do without
    try {
      write_report_html(data, vega_bundle(), html, fit);
    } catch (const Error& error) {
      if (error.code() != ExitCode::kFailure) throw;
      log_warning(std::string(error.what()) +
                  "; the page was not written, give it a name with --html");
      return judge_all(data, gates);
    }
  }
  std::fprintf(json_ || markdown_ ? stderr : result_stream(), "\nreport: %s\n", html.c_str());
  return judge_all(data, gates);
}

}  // namespace

std::unique_ptr<Command> report_command() { return std::make_unique<ReportCommand>(); }

}  // namespace bitfall
