// The protections that come with the program.
#pragma once

#include "bitfall/plugin.h"

namespace bitfall_plugins {

extern const bitfall::Component<bitfall::Protection> kRange;
extern const bitfall::Component<bitfall::Protection> kNanGuard;
extern const bitfall::Component<bitfall::Protection> kLogitBound;
extern const bitfall::Component<bitfall::Protection> kRerun;
extern const bitfall::Component<bitfall::Protection> kDuplicate;

}  // namespace bitfall_plugins
