#include "training_page.h"

#include <algorithm>
#include <cmath>

#include "charts.h"
#include "html_page.h"
#include "report_number.h"

namespace bitfall {
namespace {

/// A line per series over the epochs. `series`: name and what it takes from a row.
Json line_chart(std::span<const EpochResult> epochs, const char* title, bool percentage,
                std::initializer_list<std::pair<const char*, double EpochResult::*>> series) {
  Json rows = Json::array();
  for (const EpochResult& epoch : epochs) {
    for (const auto& [name, field] : series) {
      if (!std::isfinite(epoch.*field)) continue;
      rows.push_back({{"epoch", epoch.epoch}, {"series", name}, {"value", epoch.*field}});
    }
  }
  Json y = {{"field", "value"}, {"type", "quantitative"}, {"title", title}};
  if (percentage) y["axis"] = {{"format", ".0%"}};
  y["scale"] = {{"zero", false}};
  return {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
          {"config", chart_config()},
          {"width", 980},
          {"height", 240},
          {"data", {{"values", rows}}},
          {"mark", {{"type", "line"}, {"point", true}, {"tooltip", true}}},
          {"encoding",
           {{"x",
             {{"field", "epoch"},
              {"type", "quantitative"},
              {"axis", {{"tickMinStep", 1}, {"format", "d"}}},
              {"scale", {{"nice", false}}}}},
            {"y", y},
            {"color",
             {{"field", "series"},
              {"type", "nominal"},
              {"scale", {{"range", {kBlue, kVermillion}}}},
              {"legend", {{"title", nullptr}, {"orient", "top"}}}}}}}};
}

std::string table(std::span<const EpochResult> epochs) {
  std::string html =
      "<table><thead><tr><th>epoch</th><th>learning rate at its end</th><th>loss</th>"
      "<th>accuracy</th><th>validation loss</th><th>validation accuracy</th><th>images/s</th>"
      "<th>waited for images</th></tr></thead><tbody>\n";
  for (const EpochResult& epoch : epochs) {
    html += "<tr>";
    const auto cell = [&](const std::string& text) { html += "<td>" + text + "</td>"; };
    cell(std::to_string(epoch.epoch));
    cell(quantity(epoch.learning_rate));
    cell(quantity(epoch.loss));
    cell(percent(epoch.accuracy, 2));
    cell(quantity(epoch.validation_loss));
    cell(percent(epoch.validation_accuracy, 2));
    cell(std::to_string(std::llround(epoch.images_per_second)));
    cell(percent(epoch.waited_seconds / epoch.seconds, 1));
    html += "</tr>\n";
  }
  return html + "</tbody></table>\n";
}

}  // namespace

std::string training_charts_json(std::span<const EpochResult> epochs) {
  const Json charts = {
      {"loss", line_chart(epochs, "loss (nats)", false,
                          {{"training", &EpochResult::loss},
                           {"validation", &EpochResult::validation_loss}})},
      {"accuracy", line_chart(epochs, "accuracy", true,
                              {{"training", &EpochResult::accuracy},
                               {"validation", &EpochResult::validation_accuracy}})},
      {"rate", line_chart(epochs, "learning rate at the epoch's end", false,
                          {{"learning rate", &EpochResult::learning_rate}})}};
  return json_text(charts, -1);
}

void write_training_html(const TrainingPage& page, const std::optional<std::string>& bundle,
                         const std::filesystem::path& path) {
  const auto& epochs = page.epochs;
  std::string body = "<h1>Training of " + html_escaped(page.title) + "</h1>\n";
  for (const std::string& fact : page.facts)
    body += "<p class=\"lead\">" + html_escaped(fact) + "</p>\n";
  if (static_cast<std::int64_t>(epochs.size()) < page.planned) {
    body += "<p class=\"warning\">" + std::to_string(epochs.size()) + " of " +
            std::to_string(page.planned) + " epochs are done.</p>\n";
  }
  constexpr const char* kCharts[][2] = {
      {"accuracy", "Accuracy"}, {"loss", "Loss"}, {"rate", "Learning rate"}};
  for (const auto& [name, title] : kCharts) {
    body += std::string("<h2>") + title + "</h2>\n<div class=\"chart\" id=\"chart-" + name +
            "\"></div>\n";
  }
  body += "<h2>Epochs</h2>\n" + table(epochs) +
          "<p class=\"note\">Training loss and accuracy are means over the epoch's steps, on "
          "augmented images, while the weights change and dropout is on; validation is after the "
          "epoch, in inference mode.</p>\n";
  write_html_page({"Training of " + page.title, body, training_charts_json(epochs)}, bundle, path);
}

}  // namespace bitfall
