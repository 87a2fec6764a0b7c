#include "error_models.h"

BITFALL_PLUGIN("error_models", "1.0",
               "Faults in single registers, rates of bit errors, spatial patterns",
               [](bitfall::Registrar& registrar) {
                 registrar.add(bitfall::kBitFlip);
                 registrar.add(bitfall::kBitFlipWhere);
                 registrar.add(bitfall::kStuckAt);
                 registrar.add(bitfall::kRandomValue);
                 registrar.add(bitfall::kFixedValue);
                 registrar.add(bitfall::kNoise);
                 registrar.add(bitfall::kBitErrorRate);
                 registrar.add(bitfall::kSpatial);
               });
