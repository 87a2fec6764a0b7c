// The charts of a comparison as Vega-Lite specifications.
#include <algorithm>
#include <cmath>

#include "charts.h"
#include "compare.h"
#include "compare_tables.h"
#include "report_number.h"

namespace bitfall {
namespace {

constexpr const char* kShapes[] = {"circle",        "square", "triangle-up",   "diamond",
                                   "triangle-down", "cross",  "triangle-right"};
// How far from a ratio its interval is drawn on the log scale.
constexpr double kFarthest = 30;

Json arm_scale(const CompareData& data, const char* const (&range)[7]) {
  Json names = Json::array(), values = Json::array();
  for (std::size_t i = 0; i < data.arms.size(); ++i) {
    names.push_back(data.arms[i].label);
    values.push_back(range[i % std::size(range)]);
  }
  return {{"field", "arm"},
          {"type", "nominal"},
          {"scale", {{"domain", names}, {"range", values}}},
          {"legend", {{"title", nullptr}, {"orient", "top"}, {"symbolSize", 90}}}};
}

int step(const CompareData& data) {
  return std::max(18, 6 + 8 * static_cast<int>(data.arms.size()));
}

Json offset(const CompareData& data, bool baseline) {
  Json names = Json::array();
  for (const Arm& arm : data.arms) {
    if (baseline || &arm != &data.arms.front()) names.push_back(arm.label);
  }
  return {{"field", "arm"}, {"type", "nominal"}, {"scale", {{"domain", names}}}};
}

Json panel(const CompareData& data, const std::string& title, bool named, bool baseline) {
  std::size_t longest = 12;
  for (const LayerRow& row : data.layers) longest = std::max(longest, row.name.size());
  const double names = std::min(240.0, 6.4 * static_cast<double>(longest));
  Json axis = nullptr;
  if (named) {
    axis = {{"title", nullptr}, {"labelLimit", 240}, {"labelOverlap", false}, {"grid", true}};
  }
  return {{"title", title},
          {"width", static_cast<int>((1010 - names) / 2)},
          {"height", {{"step", step(data)}, {"for", "position"}}},
          {"encoding",
           {{"y", {{"field", "name"}, {"type", "nominal"}, {"sort", nullptr}, {"axis", axis}}},
            {"yOffset", offset(data, baseline)},
            {"color", arm_scale(data, kSeriesColours)}}}};
}

// A point with its interval.
void draw(Json& panel, const CompareData& data, const Json& x, const std::string& field,
          const Json& tooltips) {
  Json low = x, high = {{"field", field + " high"}}, point = x;
  low["field"] = field + " low";
  point["field"] = field;
  panel["encoding"]["tooltip"] = tooltips;
  Json layers = Json::array();
  layers.push_back({{"mark", {{"type", "rule"}, {"strokeWidth", 2}, {"opacity", 0.55}}},
                    {"encoding", {{"x", low}, {"x2", high}}}});
  layers.push_back({{"mark", {{"type", "point"}, {"filled", true}, {"size", 42}, {"opacity", 1}}},
                    {"encoding", {{"x", point}, {"shape", arm_scale(data, kShapes)}}}});
  panel["layer"] = std::move(layers);
}

Json chart(const std::string& description, const Json& rows, Json left, Json right) {
  // Both have a line for each name: one whose values are all beyond a logarithm's would be missing,
  // and the lines of the two panels no longer those of one layer.
  Json names = Json::array();
  for (const Json& row : rows) {
    if (std::find(names.begin(), names.end(), row["name"]) == names.end()) {
      names.push_back(row["name"]);
    }
  }
  for (Json* panel : {&left, &right}) (*panel)["encoding"]["y"]["scale"] = {{"domain", names}};
  return {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
          {"description", description},
          {"data", {{"values", rows}}},
          {"hconcat", {left, right}},
          {"config", chart_config()}};
}

Json x_axis(const CompareData& data, const char* format) {
  const bool tall = data.layers.size() * static_cast<std::size_t>(step(data)) > 600;
  return {{"title", nullptr},
          {"format", format},
          {"orient", tall ? "top" : "bottom"},
          {"tickCount", 6}};
}

Json values_chart(const CompareData& data) {
  Json rows = Json::array();
  for (const LayerRow& row : data.layers) {
    for (std::size_t i = 0; i < data.arms.size(); ++i) {
      if (!row.arms[i] || row.arms[i]->summary.trials == 0) continue;
      const GroupSummary& summary = row.arms[i]->summary;
      const Estimate& loss = headline(data, row.arms[i]->values);
      const bool drawn = loss.value > 0;  // on a log scale
      rows.push_back(
          {{"name", row.name},
           {"arm", data.arms[i].label},
           {"site", row.arms[i]->site},
           {"trials", summary.trials},
           {"mismatch", number(summary.mismatch.rate)},
           {"mismatch low", summary.mismatch.headline.low},
           {"mismatch high", summary.mismatch.headline.high},
           {"loss", drawn ? number(loss.value) : Json(nullptr)},
           {"loss low",
            drawn ? number(std::max(loss.interval.low, loss.value / kFarthest)) : Json(nullptr)},
           {"loss high", drawn ? number(loss.interval.high) : Json(nullptr)},
           {"changing", number(summary.delta_loss.changes.rate)},
           {"median", number(summary.delta_loss.median)}});
      if (has_due(data)) rows.back()["DUE"] = number(summary.due.rate);
    }
  }
  Json tooltips = Json::array(
      {tooltip("name", "layer"), tooltip("arm", "arm"), tooltip("site", "site"),
       tooltip("trials", "trials", ","), tooltip("mismatch", "mismatch", ".2%"),
       tooltip("mismatch low", "interval from", ".2%"),
       tooltip("mismatch high", "interval to", ".2%"), tooltip("loss", "delta loss", ".3g"),
       tooltip("loss low", "interval from", ".3g"), tooltip("loss high", "interval to", ".3g"),
       tooltip("changing", "changing", ".2%"), tooltip("median", "median delta loss", ".3g")});
  if (has_due(data)) tooltips.push_back(tooltip("DUE", "DUE", ".2%"));
  const std::string level = " with its " + confidence_text(data.arms.front().report) + " interval";
  Json left = panel(data, "Mismatch rate" + level, true, true);
  draw(left, data, {{"type", "quantitative"}, {"axis", x_axis(data, ".3~p")}}, "mismatch",
       tooltips);
  std::string name = headline_name(data);
  name[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[0])));
  Json right = panel(data, name + level, false, true);
  draw(right, data,
       {{"type", "quantitative"}, {"scale", {{"type", "log"}}}, {"axis", x_axis(data, "~g")}},
       "loss", tooltips);
  return chart("Mismatch rate and delta loss of each layer in each arm", rows, left, right);
}

// Empty if a log scale cannot show it.
void add_ratio(Json& row, const std::string& field, const Ratio& ratio) {
  row[field + " text"] = ratio_text(ratio);
  if (!std::isfinite(ratio.value) || ratio.value <= 0) return;
  row[field] = ratio.value;
  if (std::isnan(ratio.interval.low)) return;
  row[field + " low"] = std::max(ratio.interval.low, ratio.value / kFarthest);
  row[field + " high"] = std::min(ratio.interval.high, ratio.value * kFarthest);
}

Json improvement_rows(const CompareData& data) {
  Json rows = Json::array();
  const auto add = [&](const std::string& name, std::size_t arm, const std::string& how,
                       const Improvement& improvement) {
    Json row = {{"name", name}, {"arm", data.arms[arm].label}, {"how", how}};
    add_ratio(row, "loss", headline(data, improvement));
    add_ratio(row, "mismatch", improvement.mismatch);
    rows.push_back(std::move(row));
  };
  for (std::size_t i = 1; i < data.arms.size(); ++i) {
    add("NETWORK", i, "mean over layers", data.arms[i].networks.front().improvement);
    if (data.arms[i].last.combinations.empty()) continue;
    const LastLayer::Combination& last = data.arms[i].last.combinations.front();
    add("LAST LAYER", i, last.name, last.improvement);
  }
  for (const LayerRow& row : data.layers) {
    for (std::size_t i = 1; i < data.arms.size(); ++i) {
      if (!row.arms[i] || !row.arms[i]->pairing.matched) continue;
      add(row.name, i, row.arms[i]->pairing.paired ? "the same faults" : "other faults",
          row.arms[i]->improvement);
    }
  }
  return rows;
}

Json improvement_chart(const CompareData& data) {
  const Json tooltips =
      Json::array({tooltip("name", "layer"), tooltip("arm", "arm"), tooltip("how", "of"),
                   tooltip("loss text", "x, delta loss"), tooltip("mismatch text", "x, mismatch")});
  const auto side = [&](const std::string& title, const char* field, bool named) {
    Json made = panel(data, title, named, false);
    const Json x = {
        {"type", "quantitative"}, {"scale", {{"type", "log"}}}, {"axis", x_axis(data, "~g")}};
    draw(made, data, x, field, tooltips);
    Json even = {{"data", {{"values", Json::array({Json::object()})}}},
                 {"mark", {{"type", "rule"}, {"color", "#888888"}, {"strokeDash", {4, 3}}}},
                 {"encoding",
                  {{"x", {{"datum", 1}, {"type", "quantitative"}}},
                   {"y", nullptr},
                   {"yOffset", nullptr},
                   {"color", nullptr},
                   {"tooltip", nullptr}}}};
    made["layer"].insert(made["layer"].begin(), std::move(even));
    return made;
  };
  const std::string of = data.arms.front().label + " / arm: ";
  return chart("Improvement over the baseline by layer", improvement_rows(data),
               side(of + headline_name(data), "loss", true),
               side(of + "mismatch", "mismatch", false));
}

}  // namespace

std::string compare_charts_json(const CompareData& data) {
  Json charts = Json::object();
  std::vector<KeptCurve> curves;
  for (const Arm& arm : data.arms) {
    if (arm.report.golden_accuracy.trials > 0) {
      curves.push_back({arm.label, arm.report.accuracy_kept});
    }
  }
  if (!curves.empty()) {
    charts["kept"] = kept_chart(curves, confidence_text(data.arms.front().report));
  }
  const bool any = std::any_of(data.arms.begin(), data.arms.end(),
                               [](const Arm& arm) { return arm.report.done > 0; });
  if (any) {
    charts["improvement"] = improvement_chart(data);
    charts["values"] = values_chart(data);
  }
  return json_text(charts, -1) + "\n";
}

}  // namespace bitfall
