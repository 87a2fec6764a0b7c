// The error models of this plugin, one a file.
#pragma once

#include "bitfall/plugin.h"

namespace bitfall {

extern const Component<ErrorModel> kBitFlip;
extern const Component<ErrorModel> kStuckAt;
extern const Component<ErrorModel> kRandomValue;

}  // namespace bitfall
