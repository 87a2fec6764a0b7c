// Shares a variable with the other one of the two.
#include "sharing.h"

namespace {
constexpr bitfall::Component<bitfall::Metric> kTabled{
    "sharing", "for tests", {}, [](const bitfall::Options&) -> bitfall::Metric* {
      return new bitfall::Tabled<8>;
    }};
}  // namespace

BITFALL_PLUGIN("sharing", "1.0", "shares a variable", kTabled);
