// The report for the terminal and as Markdown.
#include "report_text.h"

#include <algorithm>
#include <cmath>

#include "report.h"
#include "report_number.h"
#include "text_table.h"

namespace bitfall {
namespace {

constexpr int kShortestName = 12;

std::string star(const DeltaLossSummary& loss) {
  return loss.trials > 0 && loss.unreliable ? "*" : "";
}

std::vector<std::string> titles(const ReportData& data, const std::string& first) {
  return {first,        "trials",  "masked", "mismatch [" + confidence_text(data) + "]",
          "delta loss", "clipped", "median", "non-finite"};
}

std::vector<std::string> cells(const GroupSummary& group, int decimals) {
  const DeltaLossSummary& loss = group.delta_loss;
  return {group.name,
          std::to_string(group.trials),
          percent(share(group.masked, group.trials), 1),
          percent(group.mismatch, decimals),
          quantity(loss.mean) + star(loss),
          quantity(loss.mean_clipped),
          quantity(loss.median),
          percent(share(group.nonfinite, group.trials), decimals)};
}

// Columns are as wide as their widest cell; the names get what the numbers leave of the line.
std::size_t room_for_names(const std::vector<std::string>& titles,
                           const std::vector<std::vector<std::string>>& rows, int width) {
  std::size_t numbers = 0;
  for (std::size_t c = 1; c < titles.size(); ++c) {
    std::size_t widest = titles[c].size();
    for (const auto& row : rows) widest = std::max(widest, row[c].size());
    numbers += widest + 2;
  }
  return static_cast<std::size_t>(std::max(kShortestName, width - static_cast<int>(numbers)));
}

std::string table(const ReportData& data, const std::string& first,
                  const std::vector<GroupSummary>& groups, int width) {
  const std::vector<std::string> names = titles(data, first);
  std::vector<TextTable::Column> columns;
  for (const std::string& title : names) {
    columns.push_back({title, columns.empty() ? TextTable::kLeft : TextTable::kRight});
  }
  std::vector<std::vector<std::string>> rows;
  for (const GroupSummary& group : groups) rows.push_back(cells(group, percent_decimals(data)));
  const std::size_t room = room_for_names(names, rows, width);
  TextTable text(columns);
  for (std::vector<std::string>& row : rows) {
    row[0] = shortened(row[0], room);
    text.add(std::move(row));
  }
  return text.render();
}

struct Line {
  std::string name;
  std::string value;
};

std::vector<Line> totals(const ReportData& data) {
  const GroupSummary& all = data.network;
  const DeltaLossSummary& loss = all.delta_loss;
  const int decimals = percent_decimals(data);
  const auto part = [&](std::int64_t count) { return percent(share(count, all.trials), decimals); };
  return {
      {"golden accuracy", percent(data.golden_accuracy, 2) + " in " + format_text(data.facts) + ", " +
                              percent(data.fp32_accuracy, 2) + " in plain FP32, " +
                              std::to_string(data.golden_accuracy.trials) + " images"},
      {"trials", std::to_string(data.done) + " of " + std::to_string(data.planned) +
                     "; activated " + part(all.activated)},
      {"outcomes", "masked " + part(all.masked) + ", top-1 same " + part(all.top1_same) +
                       ", top-1 changed " + part(all.top1_changed) + ", non-finite " +
                       part(all.nonfinite)},
      {"mismatch", percent(all.mismatch, decimals) + " of all trials"},
      {"misclassified", percent(all.misclassified, decimals) + " of all trials"},
      {"delta loss", "mean over layers " + quantity(data.delta_loss_layer_mean) +
                         ", weighted by bits " + quantity(data.delta_loss_bit_weighted) + " nats"},
      {"", "changing " + percent(loss.changes, decimals) + " x mean given a change " +
               quantity(loss.mean_given_change) + star(loss)},
      {"", "mean clipped at " + quantity(data.clip) + ": " + quantity(loss.mean_clipped) +
               ", median " + quantity(loss.median) + ", p99 " + quantity(loss.p99) + ", max " +
               quantity(loss.maximum) + ", delta non-finite " + std::to_string(loss.nonfinite)},
  };
}

std::vector<GroupSummary> layers_and_all(const ReportData& data) {
  std::vector<GroupSummary> rows = data.layers;
  rows.push_back(data.network);
  return rows;
}

std::string markdown_table(const ReportData& data, const std::string& first,
                           const std::vector<GroupSummary>& groups) {
  std::string text = "|";
  for (const std::string& title : titles(data, first)) text += " " + title + " |";
  text += "\n| :--- |" + std::string(" ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
  for (const GroupSummary& group : groups) {
    text += "|";
    for (const std::string& cell : cells(group, percent_decimals(data))) {
      text += " " + markdown_text(cell) + " |";
    }
    text += "\n";
  }
  return text;
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

std::string report_text(const ReportData& data, int width) {
  const auto line_width = static_cast<std::size_t>(std::max(40, width));
  std::string text;
  for (const std::string& warning : data.warnings) {
    text += wrapped("warning: " + warning, line_width, "");
  }
  if (!text.empty()) text += "\n";
  text += table(data, "layer", layers_and_all(data), width) + "\n";
  if (!data.bit_classes.empty()) {
    text += table(data, "bit class", data.bit_classes, width) + "\n";
  }
  constexpr std::size_t kNames = 17;
  for (const Line& line : totals(data)) {
    text += line.name + std::string(kNames - line.name.size(), ' ') +
            wrapped(line.value, line_width - kNames, std::string(kNames, ' '));
  }
  return text;
}

std::string report_markdown(const ReportData& data) {
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
  text += "\n## Layers\n\n" + markdown_table(data, "layer", layers_and_all(data));
  if (!data.bit_classes.empty()) {
    text += "\n## Bit classes\n\n" + markdown_table(data, "bit class", data.bit_classes);
  }
  if (!data.bits.empty()) text += "\n## Bits\n\n" + markdown_table(data, "bit", data.bits);
  text += "\n## Definitions\n\n";
  for (const Definition& definition : definitions()) {
    text +=
        std::string("- **") + definition.term + "**: " + markdown_text(definition.meaning) + "\n";
  }
  return text;
}

}  // namespace bitfall
