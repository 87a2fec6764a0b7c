// What the reports share in JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "json_file.h"
#include "report.h"

namespace bitfall {

using Json = nlohmann::ordered_json;

/// Null for NaN and infinities, which JSON cannot write.
Json number(double value);
Json to_json(const Interval& interval);
Json to_json(const Proportion& proportion);
Json to_json(const DeltaLossSummary& loss);
Json to_json(const MetricSummary& metric);
Json to_json(const GroupSummary& group);
Json to_json(const std::vector<AccuracyKept>& curve);

}  // namespace bitfall
