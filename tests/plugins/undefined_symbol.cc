// Calls a function that nothing defines.
#include "bitfall/plugin.h"

void missing();

BITFALL_PLUGIN("undefined_symbol", "1.0", "not linked", [](bitfall::Registrar&) { missing(); });
