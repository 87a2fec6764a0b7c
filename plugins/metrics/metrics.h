// The metrics of this plugin, one a file.
#pragma once

#include "bitfall/plugin.h"

namespace bitfall {

extern const Component<Metric> kDeltaLoss;
extern const Component<Metric> kMismatch;
extern const Component<Metric> kMisclassified;
extern const Component<Metric> kTop2Diff;
extern const Component<Metric> kOutputError;
extern const Component<Metric> kLogits;

/// Whether any of the logits is NaN.
bool any_nan(View<const float> logits);

}  // namespace bitfall
