// bitfall report: a run's tables and page.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "command.h"
#include "error.h"
#include "html_page.h"
#include "log.h"
#include "report.h"
#include "store.h"

namespace bitfall {
namespace {

class ReportCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("report", "print a run's tables and write its HTML page");
    app->add_option("run", run_, "the run directory")->required();
    app->add_option("--html", html_, "where to write the page (default: RUN/report.html)");
    app->add_flag("--json", json_, "JSON on stdout");
    app->add_flag("--markdown", markdown_, "a markdown table on stdout");
    app->add_flag("--charts", charts_,
                  "the page's Vega-Lite charts as JSON on stdout; write nothing");
    return app;
  }
  int run() override;

 private:
  std::filesystem::path run_;
  std::filesystem::path html_;  // empty = RUN/report.html
  bool json_ = false;
  bool markdown_ = false;
  bool charts_ = false;  // print the Vega-Lite specs
};

int ReportCommand::run() {
  const auto store = Store::open_read_only(run_);
  ReportData data = summarise(*store);
  data.protections = protection_rows(run_);
  if (charts_) {
    std::printf("%s\n", report_charts_json(data).c_str());
    return 0;
  }
  const std::filesystem::path html = html_.empty() ? run_ / "report.html" : html_;
  if (html_.empty()) prove_own_page(html, "give another name with --html FILE");
  if (!html_.empty()) write_report_html(data, vega_bundle(), html);
  if (json_)
    std::printf("%s", report_json(data).c_str());
  else if (markdown_)
    std::printf("%s", report_markdown(data).c_str());
  else
    std::printf("%s", report_text(data).c_str());
  if (html_.empty()) {  // nobody asked for it here: the tables do without
    try {
      write_report_html(data, vega_bundle(), html);
    } catch (const Error& error) {
      if (error.code() != ExitCode::kFailure) throw;
      log_warning(std::string(error.what()) +
                  "; the page was not written, give it a name with --html");
      return 0;
    }
  }
  std::fprintf(json_ || markdown_ ? stderr : stdout, "\nreport: %s\n", html.c_str());
  return 0;
}

}  // namespace

std::unique_ptr<Command> report_command() { return std::make_unique<ReportCommand>(); }

}  // namespace bitfall
