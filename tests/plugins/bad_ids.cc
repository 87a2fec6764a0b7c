// Ids that are missing or not snake_case, and no summary.
#include "echo.h"

BITFALL_PLUGIN("bad_ids", "1.0", "bad ids", [](bitfall::Registrar& registrar) {
  registrar.add(bitfall::echo_metric("Has Blanks"));
  registrar.add(bitfall::echo_metric(nullptr));
  auto metric = bitfall::echo_metric("no_summary");
  metric.summary = nullptr;
  registrar.add(metric);
});
