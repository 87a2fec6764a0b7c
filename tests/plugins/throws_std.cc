// Registers one good component and then throws a std::exception.
#include <stdexcept>

#include "echo.h"

BITFALL_PLUGIN("throws_std", "1.0", "throws", [](bitfall::Registrar& registrar) {
  registrar.add(bitfall::echo_metric("kept_by_mistake"));
  throw std::runtime_error("no licence for this plugin");
});
