#include "error_models.h"

BITFALL_PLUGIN("error_models", "1.0", "Faults in single registers",
               [](bitfall::Registrar& registrar) {
                 registrar.add(bitfall::kBitFlip);
                 registrar.add(bitfall::kStuckAt);
                 registrar.add(bitfall::kRandomValue);
               });
