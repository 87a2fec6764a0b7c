// Shares a variable with the other one of the two.
#include "sharing.h"

namespace {
constexpr bitfall::Component<bitfall::Metric> kTabled{
    "sharing_too", "for tests", {}, [](const bitfall::Options&) -> bitfall::Metric* {
      return new bitfall::Tabled<6>;
    }};
}  // namespace

BITFALL_PLUGIN("sharing-too", "1.0", "shares a variable", kTabled);
