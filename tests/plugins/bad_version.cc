// A version that is not like 1.0.
#include "echo.h"

BITFALL_PLUGIN("bad_version", "<b>new</b>", "odd version", bitfall::echo_metric("fine"));
