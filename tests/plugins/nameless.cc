// An entry without a name.
#include "bitfall/plugin.h"

BITFALL_PLUGIN(nullptr, "1.0", "no name", [](bitfall::Registrar&) {});
