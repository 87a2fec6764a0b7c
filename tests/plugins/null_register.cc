// An entry without a registration function.
#include "bitfall/plugin.h"

BITFALL_PLUGIN("null_register", "1.0", "no registration function", nullptr);
