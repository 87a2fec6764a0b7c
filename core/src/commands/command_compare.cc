// bitfall compare: judges runs against the first; reads them and reruns nothing.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "chart_pictures.h"
#include "compare.h"
#include "error.h"
#include "file_commands.h"
#include "html_page.h"
#include "output.h"

namespace bitfall {
namespace {

constexpr const char* kCompareHelp =
    R"(All runs must have seen the same images with the same labels. A layer is matched by its name, where
`backbone.` in front does not count. Trials that two arms ran alike (same image, same edits, same
place) are found one by one and compared as pairs; other trials as independent samples. The tables
say which. Improvement x = baseline / arm: above 1 the arm is better. Runs that are not complete are
compared as far as they are.

Examples:
  bitfall compare runs/baseline runs/text_guided
  bitfall compare runs/a runs/b runs/c --label base --label random --label text --markdown)";

class CompareCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("compare", "judge runs against the first, the baseline");
    app->footer(kCompareHelp);
    app->add_option("runs", runs_, "run directories, the baseline first")
        ->required()
        ->expected(2, -1);
    app->add_option(
           "--label", labels_,
           "an arm's name, in the order of the runs (default: the directory's name); may be "
           "repeated")
        ->allow_extra_args(false);
    app->add_option(
        "--html", html_,
        "where to write the page (default: compare.html next to the first run directory)");
    app->add_option("--only", only_,
                    "`correct`: count trials on images that every arm gets right without a fault "
                    "alone")
        ->check(CLI::IsMember({"all", "correct"}));
    auto* json = app->add_flag("--json", json_, "JSON on stdout");
    auto* markdown =
        app->add_flag("--markdown", markdown_, "markdown tables on stdout, with more columns");
    app->add_flag("--charts", charts_,
                  "the page's Vega-Lite charts as JSON on stdout; write nothing")
        ->excludes(json)
        ->excludes(markdown);
    app->add_option("--png", png_, "a folder: the page's charts as PNG files; write nothing else");
    markdown->excludes(json);
    return app;
  }
  int run() override;

 private:
  std::vector<std::filesystem::path> runs_;  // the baseline first
  std::vector<std::string> labels_;          // in the order of the runs; missing = directory names
  std::filesystem::path html_;               // empty = compare.html next to the first run
  std::string only_ = "all";
  bool json_ = false;
  bool markdown_ = false;
  bool charts_ = false;        // print the Vega-Lite specs
  std::filesystem::path png_;  // folder of pictures; empty = none
};

int CompareCommand::run() {
  if (labels_.size() > runs_.size()) {
    throw Error(ExitCode::kUsage, std::to_string(labels_.size()) + " labels for " +
                                      std::to_string(runs_.size()) +
                                      " runs; --label names the runs in their order");
  }
  std::vector<ArmSource> sources;
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    sources.push_back({runs_[i], i < labels_.size() ? labels_[i] : ""});
  }
  const CompareData data = compare(sources, only_ == "correct");
  if (charts_) {
    print_result("%s\n", compare_charts_json(data).c_str());
    return 0;
  }
  if (!png_.empty()) {
    write_chart_pictures(compare_charts_json(data), png_);
    return 0;
  }
  std::filesystem::path html = html_;
  if (html.empty()) {
    const auto run = std::filesystem::absolute(runs_.front()).lexically_normal();
    html = (run.has_filename() ? run : run.parent_path()).parent_path() / "compare.html";
    prove_own_page(html, "give another name with --html FILE");
  }
  write_compare_html(data, vega_bundle(), html);
  if (json_) {
    print_result("%s", compare_json(data).c_str());
  } else if (markdown_) {
    print_result("%s", compare_markdown(data).c_str());
  } else {
    print_result("%s", compare_text(data).c_str());
  }
  std::fprintf(json_ || markdown_ ? stderr : result_stream(), "\ncomparison: %s\n", html.c_str());
  return 0;
}

}  // namespace

std::unique_ptr<Command> compare_command() { return std::make_unique<CompareCommand>(); }

}  // namespace bitfall
