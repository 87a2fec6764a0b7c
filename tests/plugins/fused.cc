// Computes with other bits than its source says; see CMakeLists.txt.
#include "echo.h"

BITFALL_PLUGIN("fused", "1.0", "compiled for another arithmetic", bitfall::echo_metric("fused"));
