// One id twice within the plugin.
#include "echo.h"

BITFALL_PLUGIN("duplicate_within", "1.0", "one id twice", [](bitfall::Registrar& registrar) {
  registrar.add(bitfall::echo_metric("twin"));
  registrar.add(bitfall::echo_metric("twin"));
});
