// A good metric, for runs whose plugin's file goes away.
#include "echo.h"

namespace bitfall {
namespace {

void register_all(Registrar& registrar) { registrar.add(echo_metric("friendly")); }

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("friendly", "1.0", "a good one", bitfall::register_all);
