// A comparison as one HTML page.
#include "compare.h"
#include "compare_tables.h"
#include "html_page.h"
#include "report_number.h"

namespace bitfall {
namespace {

class ComparePage {
 public:
  ComparePage(const CompareData& data, bool charts) : data_(data), charts_(charts) {}

  std::string title() const {
    std::string names;
    for (const Arm& arm : data_.arms) names += (names.empty() ? "" : ", ") + arm.label;
    return names;
  }

  std::string body() {
    head();
    const std::vector<ReportTable> tables = compare_tables(data_, Detail::kFull);
    table(tables.front(), true);
    for (const std::string& note : data_.notes) {
      html_ += "<p class=\"note\">" + html_escaped(note) + "</p>\n";
    }
    charts();
    for (std::size_t i = 1; i < tables.size(); ++i) {
      html_ += "<h2>" + html_escaped(tables[i].title) + "</h2>\n";
      table(tables[i], false);
    }
    arms();
    words();
    return std::move(html_);
  }

 private:
  void head() {
    const Arm& first = data_.arms.front();
    html_ += "<h1>Comparison: " + html_escaped(title()) +
             "</h1>\n<p class=\"lead\">Baseline: " + html_escaped(first.label) + " · " +
             html_escaped(format_text(first.report.facts)) + " · " +
             html_escaped(error_models_text(first.report.facts)) + "</p>\n";
    for (const std::string& warning : data_.warnings) {
      html_ += "<p class=\"warning\">" + html_escaped(warning) + "</p>\n";
    }
  }

  void table(const ReportTable& table, bool large) {
    const std::string note = "<p class=\"note\">" + html_escaped(table.note) + "</p>\n";
    if (!large) html_ += note;
    html_ += "<div class=\"chart\">" + table_html(table, large ? " style=\"font-size:14px\"" : "") +
             "</div>\n";
    if (large) html_ += note;
  }

  void chart(const std::string& title, const std::string& name, const std::string& note) {
    html_ += "<h2>" + title + "</h2>\n<p>" + html_escaped(note) +
             "</p>\n<div class=\"chart\" id=\"chart-" + name + "\"></div>\n";
  }

  void charts() {
    if (!charts_) {
      html_ +=
          "<p class=\"note\">No charts: the charting library was not installed when this page was "
          "written. Run <code>scripts/setup.sh</code>, build again and repeat the "
          "comparison.</p>\n";
      return;
    }
    chart("Improvement by layer", "improvement",
          "Baseline / arm on a logarithmic scale; right of the dashed line the arm is better. A "
          "layer without a point has no events in one of the two; the tables tell which. Layers "
          "that only one arm has are in the next chart.");
    chart("All arms by layer", "values",
          "In network order, from the input down; layers that the baseline lacks are at the end. "
          "Delta loss is on a "
          "logarithmic scale, without the layers where it is 0. "
          "Point at a mark for its numbers.");
    chart("Accuracy kept", "kept",
          "Without a fault: images that are right with a top2diff at or above a threshold, of all "
          "images. It depends on the scale of the logits, as delta loss does.");
  }

  void arms() {
    ReportTable table;
    table.columns = {"arm",          "run",       "model", "format",
                     "error models", "hit value", "seed",  "trials"};
    table.text_columns = 5;
    for (const Arm& arm : data_.arms) {
      const RunFacts& facts = arm.report.facts;
      table.rows.push_back(
          {arm.label, arm.report.directory, facts.model_path, format_text(facts),
           error_models_text(facts), to_string(facts.hit_value), std::to_string(facts.seed),
           std::to_string(arm.report.done) + " of " + std::to_string(arm.report.planned)});
    }
    html_ += "<h2>The runs</h2>\n<div class=\"chart\">" + table_html(table) + "</div>\n";
  }

  void words() {
    html_ += "<h2>What the words mean</h2>\n<dl class=\"terms\">\n";
    const auto add = [&](const std::string& term, const std::string& meaning) {
      html_ += "<dt>" + html_escaped(term) + "</dt><dd>" + html_escaped(meaning) + "</dd>\n";
    };
    add("x", "baseline / arm of the column before; above 1 the arm is better");
    add("~", "a ratio of plain means in a format where these say nothing; read the clipped one");
    add("interval",
        "of a ratio, a mean or a change: percentiles of 2000 bootstrap resamples with a fixed "
        "seed; "
        "trials that both arms ran alike are resampled together, faults that met several images as "
        "one. Of a layer's mismatch: Wilson's or Clopper-Pearson's.");
    add("none in either", "0 / 0: nothing happened in the baseline nor in the arm");
    add("> a, < a",
        "one of the two is 0: the ratio that the ends of the two intervals leave possible; \"none "
        "left\" where that is unknown");
    add("operations", "multiply-accumulates of one image; in brackets the change");
    for (const Definition& definition : definitions()) {
      if (definition.term != std::string("interval")) add(definition.term, definition.meaning);
    }
    html_ += "</dl>\n";
  }

  const CompareData& data_;
  bool charts_;
  std::string html_;
};

}  // namespace

void write_compare_html(const CompareData& data, const std::optional<std::string>& bundle,
                        const std::filesystem::path& path) {
  ComparePage page(data, bundle.has_value());
  HtmlPage html;
  html.title = "Bitfall: " + page.title();
  html.body = page.body();
  if (bundle) html.charts = compare_charts_json(data);
  write_html_page(html, bundle, path);
}

}  // namespace bitfall
