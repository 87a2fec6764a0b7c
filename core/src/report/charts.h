// What all charts share, as Vega-Lite specifications.
#pragma once

#include "report_json.h"

namespace bitfall {

// Okabe and Ito's colours, told apart with any colour vision and in grey by their order.
inline constexpr const char* kBlue = "#0072B2";
inline constexpr const char* kVermillion = "#D55E00";

Json tooltip(const char* field, const char* title, const char* format = nullptr);
/// Fonts and colours of all charts.
Json chart_config();

}  // namespace bitfall
