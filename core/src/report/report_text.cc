// The report for the terminal and as Markdown.
#include "report_text.h"

#include <algorithm>
#include <utility>

#include "fit.h"
#include "report_number.h"
#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

std::vector<GroupSummary> layers_and_all(const ReportData& data) {
  std::vector<GroupSummary> rows = data.layers;
  rows.push_back(data.network);
  return rows;
}

// The trials that make half of the mean that is read.
std::string half_of(const ReportData& data, const DeltaLossSummary& loss) {
  return half_text(data.plain_mean_misleads ? loss.clipped_carried : loss.carried);
}

ReportTable table_of(const ReportData& data, const std::string& first,
                     const std::vector<GroupSummary>& groups) {
  const int decimals = percent_decimals(data);
  ReportTable table;
  table.columns = {first,        "trials", "masked",  "mismatch [" + confidence_text(data) + "]",
                   "delta loss", "half",   "clipped", "median",
                   "non-finite"};
  if (has_due(data)) table.columns.push_back("DUE");
  for (const GroupSummary& group : groups) {
    const DeltaLossSummary& loss = group.delta_loss;
    table.rows.push_back({group.name, std::to_string(group.trials),
                          percent(share(group.count(Outcome::kMasked), group.trials), 1),
                          percent(group.mismatch, decimals), quantity(loss.mean),
                          half_of(data, loss), quantity(loss.mean_clipped), quantity(loss.median),
                          percent(group.nonfinite_rate.rate, decimals)});
    if (has_due(data)) table.rows.back().push_back(percent(group.due.rate, decimals));
  }
  return table;
}

struct Line {
  std::string name;
  std::string value;
};

// What the trials without an answer raised; nothing where all have one.
std::vector<Line> raised_lines(const ReportData& data) {
  constexpr std::size_t kMost = 5;
  std::vector<Line> lines;
  for (const Raised& kind : data.raised) {
    if (lines.size() == kMost) break;
    lines.push_back({lines.empty() ? "raised" : "",
                     std::to_string(kind.trials) + " " + to_string(kind.outcome) +
                         ", such as trial " + std::to_string(kind.example) + ": " + kind.message});
  }
  const std::int64_t more = data.kinds_raised - static_cast<std::int64_t>(lines.size());
  if (more > 0) lines.push_back({"", "and " + std::to_string(more) + " other messages"});
  return lines;
}

std::vector<Line> delta_loss_lines(const ReportData& data) {
  const DeltaLossSummary& loss = data.network.delta_loss;
  std::string missing = ", delta non-finite " + std::to_string(loss.nonfinite);
  if (loss.no_answer > 0) missing += ", no answer " + std::to_string(loss.no_answer);
  return {
      {"delta loss", "nats; mean over layers " + with_interval(data.loss_over_layers.plain) +
                         ", by bits " + with_interval(data.loss_over_layers.by_bits)},
      {"", "clipped at " + quantity(data.clip) + ": over layers " +
               with_interval(data.clipped_over_layers.plain) + ", by bits " +
               with_interval(data.clipped_over_layers.by_bits)},
      {"", "of all trials: changing " + percent(loss.changes, percent_decimals(data)) +
               " x mean given a change " + quantity(loss.mean_given_change)},
      {"", "mean clipped " + quantity(loss.mean_clipped) + ", median " + quantity(loss.median) +
               ", p99 " + quantity(loss.p99) + ", max " + quantity(loss.maximum) + missing},
  };
}

std::string kept_text(const ReportData& data) {
  std::string text;
  for (const AccuracyKept& point : shown_thresholds(data.accuracy_kept)) {
    if (point.threshold == 0) continue;
    text += (text.empty() ? "" : ", ") + percent(point.kept.rate, 2) + " at " +
            percent(point.threshold, 0);
  }
  return text + " (right with a top2diff of at least so much, of all images)";
}

std::vector<Line> totals(const ReportData& data) {
  const GroupSummary& all = data.network;
  const int decimals = percent_decimals(data);
  std::vector<Line> lines = {
      {"golden accuracy", percent(data.golden_accuracy, 2) + " in " + format_text(data.facts) +
                              ", " + percent(data.fp32_accuracy, 2) + " in plain FP32, " +
                              std::to_string(data.golden_accuracy.trials) + " images"},
      {"golden NLL", with_interval(data.golden_nll) + ", the mean loss without a fault in nats"},
      {"trials", std::to_string(data.done) + " of " + std::to_string(data.planned) +
                     "; activated " + percent(share(all.activated, all.trials), decimals)},
      {"outcomes", outcomes_text(all, shown_outcomes(data), decimals)},
      {"mismatch", percent(all.mismatch, decimals) + " of all trials; mean over layers " +
                       percent(data.mismatch_over_layers.plain, decimals) + ", by bits " +
                       percent(data.mismatch_over_layers.by_bits, decimals)},
      {"misclassified", percent(all.misclassified, decimals) + " of all trials"},
  };
  if (data.sampling) lines.push_back({"precision", sampling_text(*data.sampling)});
  if (has_due(data)) {
    lines.push_back({"DUE", percent(all.due, decimals) + " of all trials gave no answer"});
  }
  for (Line& line : delta_loss_lines(data)) lines.push_back(std::move(line));
  if (data.golden_accuracy.trials > 0) lines.push_back({"accuracy kept", kept_text(data)});
  return lines;
}

}  // namespace

std::string shortened(const std::string& name, std::size_t width) {
  if (name.size() <= width) return name;
  std::size_t start = name.size() - (width - 3);
  while (start < name.size() && (name[start] & 0xC0) == 0x80) ++start;  // not inside a character
  return "..." + name.substr(start);
}

std::string wrapped(const std::string& text, std::size_t width, const std::string& indent) {
  std::string result, line;
  std::size_t start = 0;
  while (start < text.size()) {
    std::size_t end = text.find(' ', start);
    if (end == std::string::npos) end = text.size();
    const std::string word = text.substr(start, end - start);
    if (!line.empty() && line.size() + 1 + word.size() > width) {
      result += line + "\n" + indent;
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
    start = end + 1;
  }
  return result + line + "\n";
}

std::string markdown_text(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '<') {
      escaped += "&lt;";
    } else if (c == '&') {
      escaped += "&amp;";
    } else if (c == '\n' || c == '\r') {
      escaped += ' ';
    } else {
      if (std::string("|*_`\\[]#").find(c) != std::string::npos) escaped += '\\';
      escaped += c;
    }
  }
  return escaped;
}

ReportTable raised_table(const ReportData& data) {
  ReportTable table;
  table.columns = {"message", "outcome", "trials", "such as"};
  table.text_columns = 2;
  for (const Raised& kind : data.raised) {
    table.rows.push_back({kind.message, to_string(kind.outcome), std::to_string(kind.trials),
                          "--trial " + std::to_string(kind.example)});
  }
  const auto more = data.kinds_raised - static_cast<std::int64_t>(data.raised.size());
  if (more > 0)
    table.rows.push_back({"and " + std::to_string(more) + " other messages", "", "", ""});
  return table;
}

ReportTable provenance_table(const RunFacts& facts, bool whole) {
  ReportTable table;
  table.columns = {"plugin", "version", "SHA-256", "of", "used for"};
  if (whole) table.columns.insert(table.columns.end() - 1, {"licence", "built with"});
  table.text_columns = table.columns.size();
  for (const LoadedPluginFact& plugin :
       facts.provenance.value_or(std::vector<LoadedPluginFact>())) {
    if (!whole && plugin.own && plugin.uses.empty()) continue;
    std::vector<std::string> row = {plugin.name, plugin.version,
                                    whole ? plugin.sha256 : plugin.sha256.substr(0, 16),
                                    plugin.own ? "Bitfall" : "others"};
    if (whole) row.insert(row.end(), {plugin.licence, plugin.built_with});
    row.push_back(plugin.uses.empty() ? "nothing: loaded only" : joined(plugin.uses));
    table.rows.push_back(std::move(row));
  }
  return table;
}

/// "delta_loss (nats)".
static std::string metric_name(const MetricSummary& metric) {
  const bool number = metric.event || metric.unit.empty() || metric.unit == "1";
  return metric.column + (number ? "" : " (" + metric.unit + ")");
}

ReportTable metrics_table(const ReportData& data, bool intervals) {
  const int decimals = percent_decimals(data);
  ReportTable table;
  table.columns = {"metric", "all trials [" + confidence_text(data) + "]"};
  for (const GroupSummary& of_class : data.bit_classes) table.columns.push_back(of_class.name);
  for (std::size_t i = 0; i < data.network.metrics.size(); ++i) {
    const MetricSummary& metric = data.network.metrics[i];
    std::vector<std::string> row = {metric_name(metric), metric_text(metric, decimals)};
    for (const GroupSummary& of_class : data.bit_classes) {
      const MetricSummary& part = of_class.metrics[i];
      row.push_back(intervals    ? metric_text(part, decimals)
                    : part.event ? percent(part.rate.rate, decimals)
                                 : quantity(part.mean));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

ReportTable metrics_by_layer(const ReportData& data) {
  const int decimals = percent_decimals(data);
  ReportTable table;
  table.columns = {"layer"};
  table.total = true;
  for (const MetricSummary& metric : data.network.metrics) table.columns.push_back(metric.column);
  for (const GroupSummary& group : layers_and_all(data)) {
    std::vector<std::string> row = {group.name};
    for (const MetricSummary& metric : group.metrics) row.push_back(metric_text(metric, decimals));
    table.rows.push_back(std::move(row));
  }
  return table;
}

ReportTable metrics_in_full(const ReportData& data) {
  const int decimals = percent_decimals(data);
  ReportTable table;
  table.columns = {"metric", "trials", "value [" + confidence_text(data) + "]", "maximum"};
  for (std::size_t i = 0; i < data.network.metrics.size(); ++i) {
    const MetricSummary& metric = data.network.metrics[i];
    table.rows.push_back({metric_name(metric)});
    const auto add = [&](const std::string& name, const GroupSummary& group) {
      const MetricSummary& part = group.metrics[i];
      table.rows.push_back({"  " + name, std::to_string(group.trials), metric_text(part, decimals),
                            part.event ? "" : quantity(part.maximum)});
    };
    for (const GroupSummary& layer : data.layers) add(layer.name, layer);
    for (const GroupSummary& of_class : data.bit_classes) add("bits: " + of_class.name, of_class);
    add("all", data.network);
  }
  return table;
}

std::string report_text(const ReportData& data, int width, const FitReport* fit) {
  const auto line_width = static_cast<std::size_t>(std::max(40, width));
  std::string text;
  for (const std::string& warning : data.warnings) {
    text += wrapped("warning: " + warning, line_width, "");
  }
  if (!text.empty()) text += "\n";
  text += table_text(table_of(data, "layer", layers_and_all(data)), width) + "\n";
  if (!data.bit_classes.empty()) {
    text += table_text(table_of(data, "bit class", data.bit_classes), width) + "\n";
  }
  if (!data.network.metrics.empty()) {
    text += table_text(metrics_table(data, false), width) +
            "by layer and bit class, with intervals: bitfall report RUN --metrics\n\n";
  }
  constexpr std::size_t kNames = 17;
  std::vector<Line> lines = totals(data);
  for (Line& line : raised_lines(data)) lines.push_back(std::move(line));
  for (const Line& line : lines) {
    text += line.name + std::string(kNames - line.name.size(), ' ') +
            wrapped(line.value, line_width - kNames, std::string(kNames, ' '));
  }
  if (!data.protections.empty()) {
    text += "\n" + protections_text(data.protections, data.confidence);
  }
  if (data.facts.provenance) text += "\n" + table_text(provenance_table(data.facts, false), width);
  if (fit) {
    const ReportTable table = fit_table(*fit, data);
    text += "\n" + table_text(table, width) + wrapped(table.note, line_width, "");
  }
  return printable(text);
}

std::string report_markdown(const ReportData& data, const FitReport* fit) {
  std::string text = "# Fault injection report\n\n";
  for (const std::string& warning : data.warnings) {
    text += "> **Warning:** " + markdown_text(warning) + "\n>\n";
  }
  if (!data.warnings.empty()) text += "\n";
  for (const Line& line : totals(data)) {
    // Lines without a name go on with the one before.
    text += (line.name.empty() ? "  - " : "- **" + line.name + "**: ") + markdown_text(line.value) +
            "\n";
  }
  const auto add = [&](const char* title, const char* first,
                       const std::vector<GroupSummary>& groups) {
    if (groups.empty()) return;
    text += std::string("\n## ") + title + "\n\n" + table_markdown(table_of(data, first, groups));
  };
  add("Layers", "layer", layers_and_all(data));
  add("Bit classes", "bit class", data.bit_classes);
  add("Flips", "flip", data.directions);
  add("Answers without a fault", "answer", data.answers);
  add("Bits", "bit", data.bits);
  if (!data.network.metrics.empty()) {
    text += "\n## Metrics\n\n" + table_markdown(metrics_table(data, true)) + "\n" +
            table_markdown(metrics_by_layer(data));
  }
  if (!data.protections.empty()) {
    text += "\n## Protections\n";
    for (const auto& table : {protections_table(data.protections, confidence_text(data)),
                              detection_table(data.protections, confidence_text(data))}) {
      text += "\n" + table_markdown(table) + "\n" + markdown_text(table.note) + "\n";
    }
  }
  if (has_due(data)) text += "\n## What was raised\n\n" + table_markdown(raised_table(data));
  if (fit) {
    const ReportTable table = fit_table(*fit, data);
    text += "\n## " + table.title + "\n\n" + table_markdown(table) + "\n" +
            markdown_text(table.note) + "\n";
  }
  if (data.facts.provenance) {
    text += "\n## Plugins\n\n" + table_markdown(provenance_table(data.facts, true));
  }
  text += "\n## Definitions\n\n";
  for (const Definition& definition : definitions()) {
    text +=
        std::string("- **") + definition.term + "**: " + markdown_text(definition.meaning) + "\n";
  }
  return printable(text);
}

}  // namespace bitfall
