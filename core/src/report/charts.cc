#include "charts.h"

namespace bitfall {

Json tooltip(const char* field, const char* title, const char* format) {
  Json json = {{"field", field}, {"title", title}};
  if (format) {
    json["type"] = "quantitative";
    json["format"] = format;
  }
  return json;
}

Json kept_chart(std::span<const KeptCurve> curves, const std::string& confidence) {
  Json rows = Json::array(), names = Json::array(), colours = Json::array();
  for (std::size_t i = 0; i < curves.size(); ++i) {
    names.push_back(curves[i].label);
    colours.push_back(kSeriesColours[i % std::size(kSeriesColours)]);
    for (const AccuracyKept& point : curves[i].points) {
      rows.push_back({{"run", curves[i].label},
                      {"threshold", point.threshold},
                      {"kept", number(point.kept.rate)},
                      {"low", number(point.kept.headline.low)},
                      {"high", number(point.kept.headline.high)}});
    }
  }
  const Json x = {{"field", "threshold"},
                  {"type", "quantitative"},
                  {"axis", {{"title", "top2diff at least"}, {"format", ".0%"}}},
                  {"scale", {{"nice", false}}}};
  const Json y = {
      {"type", "quantitative"},
      {"axis", {{"title", "accuracy kept, " + confidence + " interval"}, {"format", ".0%"}}},
      {"scale", {{"zero", false}}}};
  Json low = y, line = y;
  low["field"] = "low";
  line["field"] = "kept";
  const Json legend =
      curves.size() > 1 ? Json({{"title", nullptr}, {"orient", "top"}}) : Json(nullptr);
  const Json colour = {{"field", "run"},
                       {"type", "nominal"},
                       {"scale", {{"domain", names}, {"range", colours}}},
                       {"legend", legend}};
  Json band = {{"mark", {{"type", "area"}, {"opacity", 0.15}}}};
  band["encoding"] = {{"y", low}, {"y2", {{"field", "high"}}}};
  Json lines = {{"mark", {{"type", "line"}, {"point", {{"size", 18}}}}}};
  lines["encoding"]["y"] = line;
  lines["encoding"]["tooltip"] =
      Json::array({tooltip("run", "run"), tooltip("threshold", "top2diff at least", ".0%"),
                   tooltip("kept", "accuracy kept", ".2%"), tooltip("low", "interval from", ".2%"),
                   tooltip("high", "interval to", ".2%")});
  return {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
          {"description", "Accuracy kept against a threshold of top2diff"},
          {"config", chart_config()},
          {"width", 900},
          {"height", 280},
          {"data", {{"values", rows}}},
          {"encoding", {{"x", x}, {"color", colour}}},
          {"layer", Json::array({band, lines})}};
}

Json chart_config() {
  const char* font = "system-ui, sans-serif";
  return {{"font", font},
          {"view", {{"stroke", "#bbbbbb"}}},
          {"axis", {{"gridColor", "#eeeeee"}, {"labelColor", "#222222"}, {"titleFontWeight", 600}}},
          {"title", {{"fontSize", 13}, {"fontWeight", 600}, {"anchor", "start"}}},
          {"legend", {{"labelFontSize", 11}}}};
}

}  // namespace bitfall
