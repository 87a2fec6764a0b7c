// Registration ends well without a component.
#include "bitfall/plugin.h"

BITFALL_PLUGIN("registers_nothing", "1.0", "empty", [](bitfall::Registrar&) {});
