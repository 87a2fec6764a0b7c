// What all charts share, as Vega-Lite specifications.
#pragma once

#include <span>
#include <string>

#include "accuracy_kept.h"
#include "report_json.h"

namespace bitfall {

// Okabe and Ito's colours, told apart with any colour vision and in grey by their order.
inline constexpr const char* kBlue = "#0072B2";
inline constexpr const char* kVermillion = "#D55E00";

Json tooltip(const char* field, const char* title, const char* format = nullptr);
/// A line of the chart below.
struct KeptCurve {
  std::string label;
  std::span<const AccuracyKept> points;
};
/// Accuracy against a threshold of top2diff with its intervals. `confidence`: "99 %".
Json kept_chart(std::span<const KeptCurve> curves, const std::string& confidence);
/// Of the curves or arms of a chart, in their order.
inline constexpr const char* kSeriesColours[] = {"#444444", kBlue,     kVermillion, "#009E73",
                                                 "#CC79A7", "#E69F00", "#56B4E9"};
/// Fonts and colours of all charts.
Json chart_config();

}  // namespace bitfall
