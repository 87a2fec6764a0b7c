// Built with -ffast-math (CMakeLists.txt): loading it makes the processor take subnormal numbers
// for 0.
#include "echo.h"

namespace bitfall {
namespace {

void register_all(Registrar& registrar) {
  registrar.add(Component<Metric>{
      "fast_echo", "for tests", {}, [](const Options&) -> Metric* { return new Echo; }});
}

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("fast_math", "1.0", "changes how the processor computes", bitfall::register_all);
