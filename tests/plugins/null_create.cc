// A component without a create function.
#include "bitfall/plugin.h"

namespace {
constexpr bitfall::Component<bitfall::Metric> kMetric{"null_create", "no create", {}, nullptr};
}  // namespace

BITFALL_PLUGIN("null_create", "1.0", "no create", [](bitfall::Registrar& r) { r.add(kMetric); });
