// Throws something that is not a std::exception.
#include "bitfall/plugin.h"

BITFALL_PLUGIN("throws_other", "1.0", "throws", [](bitfall::Registrar&) { throw 42; });
