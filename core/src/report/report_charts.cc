// The charts of a report as Vega-Lite specifications.
#include <algorithm>
#include <array>
#include <string>

#include "charts.h"
#include "json_file.h"
#include "report.h"
#include "report_number.h"

namespace bitfall {
namespace {

// By the value of a BitClass, and of what is none.
struct Mark {
  const char* colour;
  const char* shape;
};
constexpr std::array<Mark, kBitClassNames.size() + 1> kBitClassMarks = {{
    {kVermillion, "triangle-up"},  // sign
    {kBlue, "circle"},             // exponent
    {"#009E73", "square"},         // mantissa
    {"#CC79A7", "cross"},          // regime
    {"#E69F00", "diamond"},        // metadata
    {"#666666", "stroke"},
}};
// By the value of an Outcome.
constexpr std::array<const char*, kOutcomeNames.size()> kOutcomeColours = {
    "#DDDDDD", "#56B4E9", kVermillion, "#222222", "#CC79A7", "#E69F00"};

// One row of a chart's data.
Json chart_row(const ReportData& data, const GroupSummary& group) {
  Json row = {{"name", group.name}, {"trials", group.trials}};
  if (!group.operation.empty()) row["operation"] = group.operation;
  if (group.bit >= 0) row["bit"] = group.bit;
  if (!group.bit_class.empty()) row["class"] = group.bit_class;
  row["rate"] = number(group.mismatch.rate);
  row["low"] = group.mismatch.headline.low;
  row["high"] = group.mismatch.headline.high;
  for (const Outcome outcome : shown_outcomes(data)) {
    row[kOutcomeTitles[static_cast<std::size_t>(outcome)]] =
        number(share(group.count(outcome), group.trials));
  }
  if (has_due(data)) row["DUE"] = number(group.due.rate);
  row["clipped"] = number(group.delta_loss.mean_clipped);
  row["median"] = number(group.delta_loss.median);
  row["changing"] = number(group.delta_loss.changes.rate);
  return row;
}

Json chart_data(const ReportData& data, const std::vector<const GroupSummary*>& groups) {
  Json rows = Json::array();
  for (const GroupSummary* group : groups) rows.push_back(chart_row(data, *group));
  return {{"values", rows}};
}

Json tooltips(const ReportData& data, const char* first, bool layer) {
  Json list = Json::array({tooltip("name", first)});
  if (layer) list.push_back(tooltip("operation", "operation"));
  list.push_back(tooltip("trials", "trials", ","));
  list.push_back(tooltip("rate", "mismatch", ".2%"));
  list.push_back(tooltip("low", "interval from", ".2%"));
  list.push_back(tooltip("high", "interval to", ".2%"));
  list.push_back(tooltip("clipped", "delta loss, clipped", ".3g"));
  list.push_back(tooltip("median", "delta loss, median", ".3g"));
  list.push_back(tooltip("changing", "changing", ".2%"));
  list.push_back(tooltip("masked", "masked", ".2%"));
  list.push_back(tooltip("non-finite", "non-finite", ".2%"));
  if (has_due(data)) list.push_back(tooltip("DUE", "DUE", ".2%"));
  return list;
}

std::vector<const GroupSummary*> with_trials(const std::vector<GroupSummary>& groups) {
  std::vector<const GroupSummary*> chosen;
  for (const GroupSummary& group : groups) {
    if (group.trials > 0) chosen.push_back(&group);
  }
  return chosen;
}

// The three panels share what the longest name leaves of the page.
int panel_width(const ReportData& data, double part) {
  constexpr double kPage = 1045, kLongest = 230, kCharacter = 6.3;
  std::size_t longest = 0;
  for (const GroupSummary& layer : data.layers) longest = std::max(longest, layer.name.size());
  const double names = std::min(kLongest, kCharacter * static_cast<double>(longest));
  return static_cast<int>(part * (kPage - names));
}

// One of the panels that stand side by side, a row per layer. Only the leftmost names the layers.
Json layer_panel(const ReportData& data, const std::string& title, int width, bool named) {
  const bool many = with_trials(data.layers).size() > 60;
  Json axis = nullptr;
  if (named) {
    axis = {{"title", nullptr},
            {"labelLimit", 230},
            {"labelFontSize", many ? 9 : 11},
            {"labelOverlap", false}};
  }
  return {{"title", title},
          {"width", width},
          {"height", {{"step", many ? 11 : 18}}},
          {"encoding",
           {{"y", {{"field", "name"}, {"type", "nominal"}, {"sort", nullptr}, {"axis", axis}}}}}};
}

// A long chart has its scale where the reader starts.
Json x_axis(const ReportData& data, const char* format) {
  const bool many = with_trials(data.layers).size() > 30;
  return {{"title", nullptr}, {"format", format}, {"orient", many ? "top" : "bottom"}};
}

Json mismatch_panel(const ReportData& data) {
  Json panel = layer_panel(data, "Mismatch rate with its " + confidence_text(data) + " interval",
                           panel_width(data, 0.42), true);
  const Json x_low = {{"field", "low"}, {"type", "quantitative"}, {"axis", x_axis(data, ".3~p")}};
  panel["encoding"]["tooltip"] = tooltips(data, "layer", true);
  panel["layer"] = Json::array(
      {{{"mark", {{"type", "rule"}, {"strokeWidth", 2}, {"color", kBlue}, {"opacity", 0.55}}},
        {"encoding", {{"x", x_low}, {"x2", {{"field", "high"}}}}}},
       {{"mark",
         {{"type", "point"}, {"filled", true}, {"size", 40}, {"color", kBlue}, {"opacity", 1}}},
        {"encoding", {{"x", {{"field", "rate"}, {"type", "quantitative"}}}}}}});
  return panel;
}

Json delta_panel(const ReportData& data) {
  Json panel = layer_panel(data, "Mean delta loss, cut at " + quantity(data.clip) + " nats",
                           panel_width(data, 0.28), false);
  panel["mark"] = {{"type", "bar"}, {"color", "#009E73"}};
  panel["encoding"]["x"] = {
      {"field", "clipped"}, {"type", "quantitative"}, {"axis", x_axis(data, "~g")}};
  panel["encoding"]["tooltip"] = tooltips(data, "layer", true);
  return panel;
}

Json outcome_panel(const ReportData& data) {
  Json names = Json::array(), colours = Json::array();
  for (const Outcome outcome : shown_outcomes(data)) {
    names.push_back(kOutcomeTitles[static_cast<std::size_t>(outcome)]);
    colours.push_back(kOutcomeColours[static_cast<std::size_t>(outcome)]);
  }
  Json panel = layer_panel(data, "Outcomes, share of trials", panel_width(data, 0.3), false);
  panel["transform"] = Json::array(
      {{{"fold", names}, {"as", {"outcome", "share"}}},
       {{"calculate", "indexof(" + json_text(names, -1) + ", datum.outcome)"}, {"as", "rank"}}});
  panel["mark"] = {{"type", "bar"}};
  Json& encoding = panel["encoding"];
  encoding["x"] = {{"field", "share"},
                   {"type", "quantitative"},
                   {"stack", "zero"},
                   {"scale", {{"domain", {0, 1}}}},
                   {"axis", x_axis(data, ".0%")}};
  encoding["color"] = {{"field", "outcome"},
                       {"type", "nominal"},
                       {"scale", {{"domain", names}, {"range", colours}}},
                       {"legend", {{"title", nullptr}, {"orient", "bottom"}, {"columns", 2}}}};
  encoding["order"] = {{"field", "rank"}, {"type", "quantitative"}};
  encoding["tooltip"] =
      Json::array({tooltip("name", "layer"), tooltip("outcome", "outcome"),
                   tooltip("share", "share", ".2%"), tooltip("trials", "trials", ",")});
  return panel;
}

Json layers_chart(const ReportData& data) {
  return {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
          {"description", "Mismatch rate, clipped mean delta loss and outcomes of each layer"},
          {"data", chart_data(data, with_trials(data.layers))},
          {"hconcat", {mismatch_panel(data), delta_panel(data), outcome_panel(data)}},
          {"spacing", 14},
          {"resolve", {{"legend", {{"color", "independent"}}}}},
          {"config", chart_config()}};
}

// Colours and shapes of the bit classes that the run has.
Json bit_class_encoding(const ReportData& data, const char* kind) {
  Json names = Json::array(), range = Json::array();
  for (std::size_t i = 0; i < kBitClassMarks.size(); ++i) {
    const std::string name = i < kBitClassNames.size() ? kBitClassNames[i] : "other";
    const bool used = std::any_of(data.bit_classes.begin(), data.bit_classes.end(),
                                  [&](const auto& group) { return group.bit_class == name; });
    if (!used) continue;
    names.push_back(name);
    range.push_back(std::string(kind) == "shape" ? kBitClassMarks[i].shape
                                                 : kBitClassMarks[i].colour);
  }
  return {{"field", "class"},
          {"type", "nominal"},
          {"scale", {{"domain", names}, {"range", range}}},
          {"legend", {{"title", "bit class"}, {"orient", "right"}}}};
}

// "6-7" below a row of several bits, which stands at its highest.
std::string bit_labels(const ReportData& data) {
  std::string several;
  for (const GroupSummary& row : data.bits) {
    if (row.first_bit < 0) continue;
    several += (several.empty() ? "'" : ", '") + std::to_string(row.bit) + "': '" +
               std::to_string(row.first_bit) + "-" + std::to_string(row.bit) + "'";
  }
  return several.empty() ? "datum.label" : "{" + several + "}[datum.label] || datum.label";
}

Json bit_panel(const ReportData& data, const std::string& title, std::size_t bits, bool labelled) {
  const auto step = static_cast<int>(std::clamp<std::size_t>(900 / bits, 22, 48));
  return {{"title", title},
          {"width", {{"step", step}}},
          {"height", 170},
          {"encoding",
           {{"x",
             {{"field", "bit"},
              {"type", "ordinal"},
              {"sort", "descending"},
              {"axis",
               {{"title", labelled ? Json("bit (0 = least significant)") : Json(nullptr)},
                {"labelExpr", bit_labels(data)},
                {"labelAngle", 0}}}}},
            {"tooltip", tooltips(data, "bit", false)}}}};
}

Json bit_rates(const ReportData& data, const std::string& of, std::size_t bits) {
  Json panel = bit_panel(data, "Mismatch rate with its " + confidence_text(data) + " interval" + of,
                         bits, false);
  const Json colour = bit_class_encoding(data, "color");
  const Json axis = {{"title", nullptr}, {"format", ".3~p"}};
  panel["layer"] =
      Json::array({{{"mark", {{"type", "rule"}, {"strokeWidth", 2.5}, {"opacity", 0.6}}},
                    {"encoding",
                     {{"y", {{"field", "low"}, {"type", "quantitative"}, {"axis", axis}}},
                      {"y2", {{"field", "high"}}},
                      {"color", colour}}}},
                   {{"mark", {{"type", "point"}, {"filled", true}, {"size", 80}, {"opacity", 1}}},
                    {"encoding",
                     {{"y", {{"field", "rate"}, {"type", "quantitative"}}},
                      {"color", colour},
                      {"shape", bit_class_encoding(data, "shape")}}}}});
  return panel;
}

Json bit_losses(const ReportData& data, const std::string& of, std::size_t bits) {
  Json panel =
      bit_panel(data, "Mean delta loss, cut at " + quantity(data.clip) + " nats" + of, bits, true);
  panel["mark"] = {{"type", "bar"}};
  panel["encoding"]["y"] = {{"field", "clipped"},
                            {"type", "quantitative"},
                            {"axis", {{"title", nullptr}, {"format", "~g"}}}};
  panel["encoding"]["color"] = bit_class_encoding(data, "color");
  return panel;
}

Json bits_chart(const ReportData& data) {
  std::vector<std::string> registers;  // in the order of the format
  for (const GroupSummary& bit : data.bits) {
    if (registers.empty() || registers.back() != bit.register_name) {
      registers.push_back(bit.register_name);
    }
  }
  Json parts = Json::array();
  for (const std::string& name : registers) {
    std::vector<const GroupSummary*> bits = with_trials(data.bits);
    std::erase_if(bits, [&](const GroupSummary* bit) { return bit->register_name != name; });
    const std::string of = registers.size() > 1 ? ", register '" + name + "'" : "";
    parts.push_back(
        {{"data", chart_data(data, bits)},
         {"vconcat", {bit_rates(data, of, bits.size()), bit_losses(data, of, bits.size())}}});
  }
  return {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
          {"description", "Mismatch rate and clipped mean delta loss of each bit"},
          {"vconcat", parts},
          {"config", chart_config()}};
}

// A field of layers by bits.
Json layer_bits_chart(const ReportData& data) {
  Json rows = Json::array();
  for (const LayerBit& cell : data.layer_bits) {
    rows.push_back({{"layer", data.layers[cell.layer].name},
                    {"bit", cell.bit},
                    {"trials", cell.trials},
                    {"rate", cell.rate.rate},
                    {"high", cell.rate.headline.high},
                    {"clipped", number(cell.clipped)}});
  }
  const bool many = with_trials(data.layers).size() > 60;
  const Json y = {{"field", "layer"},
                  {"type", "nominal"},
                  {"sort", nullptr},
                  {"axis",
                   {{"title", nullptr},
                    {"labelLimit", 230},
                    {"labelFontSize", many ? 9 : 11},
                    {"labelOverlap", false}}}};
  const Json x = {{"field", "bit"},
                  {"type", "ordinal"},
                  {"sort", "descending"},
                  {"axis", {{"title", "bit (0 = least significant)"}, {"labelAngle", 0}}}};
  const Json colour = {{"field", "rate"},
                       {"type", "quantitative"},
                       {"scale", {{"scheme", "viridis"}, {"type", "sqrt"}}},
                       {"legend", {{"title", "mismatch"}, {"format", ".1~%"}}}};
  const Json tooltips = Json::array(
      {tooltip("layer", "layer"), tooltip("bit", "bit"), tooltip("trials", "trials", ","),
       tooltip("rate", "mismatch", ".2%"), tooltip("high", "at most", ".2%"),
       tooltip("clipped", "delta loss, clipped", ".3g")});
  return {{"$schema", "https://vega.github.io/schema/vega-lite/v6.json"},
          {"description", "Mismatch rate of each bit in each layer"},
          {"data", {{"values", rows}}},
          {"width", {{"step", 24}}},
          {"height", {{"step", many ? 11 : 18}}},
          {"mark", {{"type", "rect"}}},
          {"encoding", {{"y", y}, {"x", x}, {"color", colour}, {"tooltip", tooltips}}},
          {"config", chart_config()}};
}

}  // namespace

std::string report_charts_json(const ReportData& data) {
  Json charts = Json::object();
  if (data.done > 0) charts["layers"] = layers_chart(data);
  if (!data.bits.empty()) charts["bits"] = bits_chart(data);
  if (!data.layer_bits.empty()) charts["layer_bits"] = layer_bits_chart(data);
  if (data.golden_accuracy.trials > 0) {
    const KeptCurve curve{"this run", data.accuracy_kept};
    charts["kept"] = kept_chart(std::span(&curve, 1), confidence_text(data));
  }
  return json_text(charts, -1) + "\n";
}

}  // namespace bitfall
