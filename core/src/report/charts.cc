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

Json chart_config() {
  const char* font = "system-ui, sans-serif";
  return {{"font", font},
          {"view", {{"stroke", "#bbbbbb"}}},
          {"axis", {{"gridColor", "#eeeeee"}, {"labelColor", "#222222"}, {"titleFontWeight", 600}}},
          {"title", {{"fontSize", 13}, {"fontWeight", 600}, {"anchor", "start"}}},
          {"legend", {{"labelFontSize", 11}}}};
}

}  // namespace bitfall
