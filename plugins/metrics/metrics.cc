#include "metrics.h"

#include <algorithm>
#include <cmath>

namespace bitfall {

bool any_nan(View<const float> logits) {
  return std::any_of(logits.begin(), logits.end(), [](float logit) { return std::isnan(logit); });
}

}  // namespace bitfall

BITFALL_PLUGIN("metrics", "1.0", "What a fault did to a classifier's answer",
               [](bitfall::Registrar& registrar) {
                 registrar.add(bitfall::kDeltaLoss);
                 registrar.add(bitfall::kMismatch);
                 registrar.add(bitfall::kMisclassified);
                 registrar.add(bitfall::kTop2Diff);
                 registrar.add(bitfall::kOutputError);
                 registrar.add(bitfall::kLogits);
               });
