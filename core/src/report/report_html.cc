// The report as one HTML page: tables and charts.
#include "fit.h"
#include "html_page.h"
#include "report.h"
#include "report_number.h"
#include "report_table.h"
#include "report_text.h"

namespace bitfall {
namespace {

class ReportPage {
 public:
  ReportPage(const ReportData& data, bool charts, const FitReport* fit)
      : data_(data), charts_(charts), fit_(fit), decimals_(percent_decimals(data)) {}

  std::string title() const { return "Bitfall: " + model(); }

  std::string body() {
    head();
    headline_numbers();
    layers();
    bits();
    protections();
    kept();
    failures_in_time();
    metrics();
    raised();
    worst();
    facts();
    meaning();
    return std::move(html_);
  }

 private:
  std::string model() const {
    const std::string name = std::filesystem::path(data_.facts.model_path).filename().string();
    return name.empty() ? "campaign" : name;
  }

  void head() {
    html_ += "<h1>Fault injection report: " + html_escaped(model()) + "</h1>\n";
    std::string line = data_.directory;
    line += " · " + data_.facts.format + " · " + error_models_text(data_.facts);
    if (data_.facts.finished) line += " · " + *data_.facts.finished;
    html_ += "<p class=\"lead\">" + html_escaped(line) + "</p>\n";
    for (const std::string& warning : data_.warnings) {
      html_ += "<p class=\"warning\">" + html_escaped(warning) + "</p>\n";
    }
  }

  void number(const std::string& value, const std::string& meaning) {
    html_ += "<div class=\"number\"><b>" + html_escaped(value) + "</b><span>" +
             html_escaped(meaning) + "</span></div>\n";
  }

  void rate(const Proportion& p, int decimals, const std::string& meaning) {
    if (p.trials == 0) return number("-", meaning);
    const std::string text = percent(p, decimals);
    number(percent(p.rate, decimals), text.substr(text.find('[')) + " " + meaning);
  }

  void headline_numbers() {
    const GroupSummary& all = data_.network;
    html_ += "<div class=\"numbers\">\n";
    rate(all.mismatch, decimals_,
         "mismatch: top-1 differs from the fault-free run; mean over layers " +
             percent(data_.mismatch_over_layers.plain, decimals_) + ", by bits " +
             percent(data_.mismatch_over_layers.by_bits, decimals_));
    const DeltaLossSummary& loss = all.delta_loss;
    if (data_.plain_mean_misleads) {
      number(quantity(loss.mean_clipped),
             "delta loss in nats: mean with each trial cut at " + quantity(data_.clip) +
                 ", over layers " + with_interval(data_.clipped_over_layers.plain) + ", by bits " +
                 with_interval(data_.clipped_over_layers.by_bits) + "; median " +
                 quantity(loss.median) + ", changing " + percent(loss.changes.rate, decimals_));
    } else {
      const OverLayers& mean = data_.loss_over_layers;
      number(quantity(mean.plain.value),
             interval_text(mean.plain.interval) +
                 " delta loss in nats: mean over layers; by bits " + with_interval(mean.by_bits) +
                 "; clipped mean of all trials " + quantity(loss.mean_clipped) + ", median " +
                 quantity(loss.median));
    }
    rate(all.nonfinite_rate, decimals_, "non-finite logits");
    if (has_due(data_)) {
      rate(all.due, decimals_,
           "DUE, trials without an answer: " + outcomes_text(all, kDueOutcomes, decimals_));
    }
    rate(data_.golden_accuracy, 2,
         "accuracy without faults in " + format() + "; in plain FP32 " +
             percent(data_.fp32_accuracy, 2) + "; NLL " + with_interval(data_.golden_nll));
    number(std::to_string(data_.done), "of " + std::to_string(data_.planned) + " trials, on " +
                                           std::to_string(data_.images) + " images");
    html_ +=
        "</div>\n<p class=\"note\">Brackets are " + confidence_text(data_) + " intervals.</p>\n";
  }

  std::string format() const { return format_text(data_.facts); }

  void chart(const std::string& name) {
    if (charts_) {
      html_ += "<div class=\"chart\" id=\"chart-" + name + "\"></div>\n";
    } else {
      html_ +=
          "<p class=\"note\">No chart: the charting library was not installed when this report was "
          "written. Run <code>scripts/setup.sh</code>, build again and repeat the report.</p>\n";
    }
  }

  void layers() {
    html_ += "<h2>Layers</h2>\n";
    if (data_.layers.empty()) {
      html_ += "<p>The campaign has no layers to show.</p>\n";
      return;
    }
    html_ += "<p>In network order, from the input down. Point at a mark for its numbers.</p>\n";
    if (data_.done > 0) chart("layers");
    table("layer", data_.layers, true);
    outcomes_by_answer();
  }

  // Outcomes of images that are right without a fault, and of the others.
  void outcomes_by_answer() {
    if (data_.answers.size() < 2) return;
    ReportTable table;
    table.columns = {"answer without a fault", "trials"};
    const std::vector<Outcome> outcomes = shown_outcomes(data_);
    for (const Outcome outcome : outcomes) {
      table.columns.push_back(kOutcomeTitles[static_cast<std::size_t>(outcome)]);
    }
    table.columns.push_back("mismatch [" + confidence_text(data_) + "]");
    for (const GroupSummary& group : data_.answers) {
      std::vector<std::string> row = {group.name, std::to_string(group.trials)};
      for (const Outcome outcome : outcomes) {
        row.push_back(percent(share(group.count(outcome), group.trials), decimals_));
      }
      row.push_back(percent(group.mismatch, decimals_));
      table.rows.push_back(std::move(row));
    }
    html_ += "<details open><summary>Outcomes by the answer without a fault</summary>\n" +
             table_html(table) + "</details>\n";
  }

  void bits() {
    html_ += "<h2>Bits</h2>\n";
    if (data_.sampling) {
      stratified_bits();
      return;
    }
    if (data_.bits.empty()) {
      html_ += "<p>No trial changed one register alone, so there is nothing to show by bit.</p>\n";
      return;
    }
    html_ +=
        "<p>Trials by the highest bit that their fault edits; trials with several edits are left "
        "out.</p>\n";
    chart("bits");
    if (!data_.layer_bits.empty()) {
      html_ +=
          "<p>Mismatches of each bit in each layer, of faults that edit one register of the "
          "payload:</p>\n";
      chart("layer_bits");
    }
    table("bit class", data_.bit_classes, false);
    if (!data_.directions.empty()) table("flip", data_.directions, false);
    table("bit", data_.bits, false);
  }

  // Of a run that was drawn by strata.
  void stratified_bits() {
    if (data_.bits.empty()) {
      html_ += "<p>Faults were drawn by layer alone: of their bits nothing is known before.</p>\n";
    } else {
      html_ +=
          "<p>Parts of the bits, as faults were drawn by them; low bits of a mantissa stand "
          "together.</p>\n";
      chart("bits");
    }
    if (!data_.layer_bits.empty()) {
      html_ += "<p>Mismatches of each bit in each layer:</p>\n";
      chart("layer_bits");
    }
    if (!data_.bit_classes.empty()) table("bit class", data_.bit_classes, false);
    if (!data_.bits.empty()) table("part", data_.bits, false);
  }

  std::vector<std::string> cells(const GroupSummary& group, bool layer) const {
    const DeltaLossSummary& loss = group.delta_loss;
    std::vector<std::string> cells = {group.name};
    if (layer) {
      cells.push_back(group.operation);
      cells.push_back(group.population > 0 ? quantity(group.population) : "-");
    }
    cells.insert(cells.end(),
                 {std::to_string(group.trials),
                  percent(share(group.count(Outcome::kMasked), group.trials), 1),
                  percent(group.mismatch, decimals_), percent(group.misclassified.rate, decimals_),
                  percent(group.nonfinite_rate.rate, decimals_)});
    if (has_due(data_)) cells.push_back(percent(group.due.rate, decimals_));
    cells.insert(cells.end(),
                 {percent(loss.changes.rate, decimals_),
                  quantity(loss.mean) + interval_text(loss.interval), half_text(loss.carried),
                  quantity(loss.mean_clipped) + interval_text(loss.clipped_interval),
                  half_text(loss.clipped_carried), quantity(loss.median), quantity(loss.p99),
                  quantity(loss.maximum)});
    return cells;
  }

  void table(const std::string& first, const std::vector<GroupSummary>& groups, bool layer) {
    ReportTable table;
    table.columns = {first};
    if (layer) table.columns.insert(table.columns.end(), {"operation", "population"});
    table.columns.insert(table.columns.end(),
                         {"trials", "masked", "mismatch [" + confidence_text(data_) + "]",
                          "misclassified", "non-finite"});
    if (has_due(data_)) table.columns.push_back("DUE");
    table.columns.insert(table.columns.end(), {"changing", "delta loss", "half", "clipped", "half",
                                               "median", "p99", "max"});
    for (const GroupSummary& group : groups) table.rows.push_back(cells(group, layer));
    if (layer) table.rows.push_back(cells(data_.network, layer));
    table.total = layer;
    html_ += "<details open><summary>Table by " + first + "</summary>\n" + table_html(table) +
             "</details>\n";
  }

  void kept() {
    if (data_.golden_accuracy.trials == 0) return;
    html_ +=
        "<h2>Accuracy kept</h2>\n<p>Without a fault: the share of all images that are right with "
        "a top2diff at or above a threshold.</p>\n";
    chart("kept");
    ReportTable table;
    table.columns = {"top2diff at least", "accuracy kept [" + confidence_text(data_) + "]"};
    for (const AccuracyKept& point : data_.accuracy_kept) {
      table.rows.push_back({percent(point.threshold, 0), percent(point.kept, 2)});
    }
    html_ +=
        "<details><summary>Table by threshold</summary>\n" + table_html(table) + "</details>\n";
  }

  void failures_in_time() {
    if (!fit_) return;
    const ReportTable table = fit_table(*fit_, data_);
    html_ += "<h2>" + html_escaped(table.title) + "</h2>\n<p>" + html_escaped(table.note) +
             "</p>\n" + table_html(table);
  }

  void metrics() {
    if (data_.network.metrics.empty()) return;
    html_ +=
        "<h2>Metrics</h2>\n<p>Every column of every metric: of an event the share of all trials, "
        "of a "
        "quantity the mean over the trials with a finite one. Brackets are " +
        confidence_text(data_) + " intervals.</p>\n" + table_html(metrics_table(data_, true)) +
        "<details><summary>Metrics by layer</summary>\n" + table_html(metrics_by_layer(data_)) +
        "</details>\n";
  }

  void protections() {
    if (data_.protections.empty()) return;
    html_ += "<h2>Protections</h2>\n";
    for (const auto& table : {protections_table(data_.protections, confidence_text(data_)),
                              detection_table(data_.protections, confidence_text(data_))}) {
      html_ += "<p>" + html_escaped(table.note) + "</p>\n" + table_html(table);
    }
    html_ += "<ul>\n";
    for (const ProtectionRow& row : data_.protections) {
      if (row.name.empty()) continue;
      const std::string learned =
          row.learned_from.empty() ? "" : "; learned from " + row.learned_from;
      html_ += "<li>" +
               html_escaped(row.name + ": " + row.detail + "; costs " + row.cost + learned) +
               "</li>\n";
    }
    html_ += "</ul>\n";
  }

  void raised() {
    if (!has_due(data_)) return;
    html_ +=
        "<h2>What was raised</h2>\n<p>By trials without an answer, the commonest first. Messages "
        "that differ in numbers alone are counted together; the first trial's is shown.</p>\n" +
        table_html(raised_table(data_), " class=\"worst\"");
  }

  void worst() {
    if (data_.worst.empty()) return;
    ReportTable table;
    table.columns = {"trial",        "layer",       "image",       "edit",      "golden top-1",
                     "faulty top-1", "golden loss", "faulty loss", "delta loss"};
    table.text_columns = 6;
    for (const WorstTrial& w : data_.worst) {
      table.rows.push_back({"--trial " + std::to_string(w.trial), w.site, w.image, w.edit,
                            w.golden_class, w.faulty_class, quantity(w.golden_loss),
                            quantity(w.faulty_loss), quantity(w.delta_loss)});
    }
    html_ +=
        "<h2>Worst trials</h2>\n<p>The largest finite changes of the loss. Run one again, and "
        "compare it with what is stored, by <code>" +
        html_escaped("bitfall replay " + data_.directory + " --trial ") + "N</code></p>\n" +
        table_html(table, " class=\"worst\"");
  }

  void pair(const std::string& name, const std::string& value) {
    if (value.empty()) return;
    html_ += "<dt>" + html_escaped(name) + "</dt><dd>" + html_escaped(value) + "</dd>\n";
  }

  void facts() {
    html_ += "<h2>The campaign</h2>\n<dl class=\"facts\">\n";
    pair("accuracy in " + format(), percent(data_.golden_accuracy, 2));
    pair("accuracy in plain FP32", percent(data_.fp32_accuracy, 2));
    pair("NLL in " + format() + ", in plain FP32",
         with_interval(data_.golden_nll) + ", " + with_interval(data_.fp32_nll));
    for (const FactKey& key : fact_keys()) pair(key.title, key.told(data_.facts).value_or(""));
    html_ += "</dl>\n";
    if (!data_.facts.provenance) return;
    html_ +=
        "<h2>Plugins</h2>\n<p>All whose code was loaded, by the SHA-256 of their files.</p>\n" +
        table_html(provenance_table(data_.facts, true), " class=\"plugins\"");
  }

  void meaning() {
    html_ += "<h2>What the words mean</h2>\n<dl class=\"terms\">\n";
    for (const Definition& definition : definitions()) {
      html_ += "<dt>" + html_escaped(definition.term) + "</dt><dd>" +
               html_escaped(definition.meaning) + "</dd>\n";
    }
    html_ += "</dl>\n<p class=\"note\">Signed mean of the delta loss of all trials " +
             quantity(data_.network.delta_loss.signed_mean) + "; mean given a change " +
             quantity(data_.network.delta_loss.mean_given_change) +
             "; trials with a non-finite delta loss " +
             std::to_string(data_.network.delta_loss.nonfinite) + ", without an answer " +
             std::to_string(data_.network.delta_loss.no_answer) + ".</p>\n";
  }

  const ReportData& data_;
  bool charts_;
  const FitReport* fit_;
  int decimals_;
  std::string html_;
};

}  // namespace

void write_report_html(const ReportData& data, const std::optional<std::string>& bundle,
                       const std::filesystem::path& path, const FitReport* fit) {
  ReportPage page(data, bundle.has_value(), fit);
  HtmlPage html;
  html.title = page.title();
  html.body = page.body();
  if (bundle) html.charts = report_charts_json(data);
  write_html_page(html, bundle, path);
}

}  // namespace bitfall
