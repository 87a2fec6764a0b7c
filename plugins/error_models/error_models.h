// The error models of this plugin, one a file.
#pragma once

#include "bitfall/plugin.h"

namespace bitfall {

extern const Component<ErrorModel> kBitFlip;
extern const Component<ErrorModel> kBitFlipWhere;
extern const Component<ErrorModel> kStuckAt;
extern const Component<ErrorModel> kRandomValue;
extern const Component<ErrorModel> kFixedValue;
extern const Component<ErrorModel> kNoise;
extern const Component<ErrorModel> kBitErrorRate;
extern const Component<ErrorModel> kSpatial;

}  // namespace bitfall
