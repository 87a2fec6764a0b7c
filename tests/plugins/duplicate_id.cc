// A good component, then an id that a first-party plugin has.
#include "echo.h"

namespace {
constexpr bitfall::Component<bitfall::NumberFormat> kFormat{
    "fp16", "not the real one", {}, [](const bitfall::Options&) -> bitfall::NumberFormat* {
      return nullptr;
    }};
}  // namespace

BITFALL_PLUGIN("duplicate_id", "1.0", "a second fp16", [](bitfall::Registrar& registrar) {
  registrar.add(bitfall::echo_metric("kept_by_mistake"));
  registrar.add(kFormat);
});
