#include "protections.h"

BITFALL_PLUGIN("protections", "1.0", "Guards of values and answers",
               [](bitfall::Registrar& registrar) {
                 registrar.add(bitfall_plugins::kRange);
                 registrar.add(bitfall_plugins::kNanGuard);
                 registrar.add(bitfall_plugins::kLogitBound);
                 registrar.add(bitfall_plugins::kRerun);
                 registrar.add(bitfall_plugins::kDuplicate);
               });
