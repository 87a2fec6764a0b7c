// What the reports share in JSON and in Vega-Lite charts.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "report.h"

namespace bitfall {

using Json = nlohmann::ordered_json;

/// Null for NaN and infinities, which JSON cannot write.
Json number(double value);
Json to_json(const Interval& interval);
Json to_json(const Proportion& proportion);
Json to_json(const DeltaLossSummary& loss);
Json to_json(const GroupSummary& group);
/// Names may hold any bytes; JSON holds UTF-8 only.
std::string dump(const Json& json, int indent);

// Okabe and Ito's colours, told apart with any colour vision and in grey by their order.
inline constexpr const char* kBlue = "#0072B2";
inline constexpr const char* kVermillion = "#D55E00";

Json tooltip(const char* field, const char* title, const char* format = nullptr);
/// Fonts and colours of all charts.
Json chart_config();

}  // namespace bitfall
