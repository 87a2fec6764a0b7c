#include "echo.h"

BITFALL_PLUGIN("bad_version", "<b>new</b>", "odd version", bitfall::echo_metric("fine"));
